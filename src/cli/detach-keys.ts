import { ExitError } from "./command.ts";

export const DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q";

/** Bytes of a key list: single characters and `ctrl-` with a-z, @, [, \, ], ^, _. */
export function parseDetachKeys(text: string): number[] {
  return text.split(",").map((key) => {
    if (/^[\x20-\x7e]$/.test(key)) return key.charCodeAt(0);
    const control = /^ctrl-([a-z@[\\\]^_])$/.exec(key)?.[1];
    if (!control) throw new ExitError(1, `invalid detach keys (${text}): unknown character: '${key}'`);
    return control.toUpperCase().charCodeAt(0) & 0x1f;
  });
}

/**
 * Finds the detach keys in typed input. A begun sequence is held back and sent on when the next byte does not go on
 * with it, so the process sees everything but a complete sequence.
 */
export class DetachFilter {
  #matched = 0;
  /** True after the whole sequence; input ends there. */
  detached = false;

  constructor(private readonly keys: readonly number[]) {}

  /** What of `chunk` goes to the process. */
  push(chunk: Uint8Array): Uint8Array {
    if (this.keys.length === 0) return chunk;
    const out: number[] = [];
    for (const byte of chunk) {
      if (byte !== this.keys[this.#matched] && this.#matched > 0) {
        out.push(...this.keys.slice(0, this.#matched));
        this.#matched = 0;
      }
      if (byte !== this.keys[this.#matched]) out.push(byte);
      else if (++this.#matched === this.keys.length) {
        this.detached = true;
        break;
      }
    }
    return Uint8Array.from(out);
  }
}
