import { formatNanoseconds } from "../clock.ts";

/** Bytes of a {@link TimeText}. */
export const TIME_LENGTH = 30;
const SECOND = 1_000_000_000;

/**
 * A time as RFC 3339 with nine digits, in bytes that stay the same: there is one for every line, and all before the
 * nanoseconds changes once a second.
 */
export class TimeText {
  #second = -1;

  /** `bytes`: where it is kept, {@link TIME_LENGTH} of them. */
  constructor(readonly bytes: Buffer = Buffer.alloc(TIME_LENGTH)) {}

  set(second: number, nano: number): void {
    const { bytes } = this;
    if (second !== this.#second) {
      bytes.write(formatNanoseconds(BigInt(second) * BigInt(SECOND)), 0, "latin1");
      this.#second = second;
    }
    let rest = nano;
    for (let at = 28; at > 19; at--) {
      const next = (rest / 10) | 0;
      bytes[at] = 0x30 + rest - next * 10;
      rest = next;
    }
  }
}

/** A time as two numbers: seconds since the epoch, and nanoseconds below. */
export interface Instant {
  second: number;
  nano: number;
}

/** Moves on by a nanosecond: no two lines have the same time. */
export function tick(time: Instant): void {
  if (++time.nano < SECOND) return;
  time.nano = 0;
  time.second++;
}

export function instant(time: bigint): Instant {
  const second = time / BigInt(SECOND);
  const nano = Number(time - second * BigInt(SECOND));
  return nano < 0 ? { second: Number(second) - 1, nano: nano + SECOND } : { second: Number(second), nano };
}

export function later(a: Instant, b: Instant): boolean {
  return a.second > b.second || (a.second === b.second && a.nano > b.nano);
}
