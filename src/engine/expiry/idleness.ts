/** Since when a container has been idle; part of its state. */
export interface Idleness {
  /** Milliseconds since the epoch. */
  since: number;
  /** Nanoseconds of CPU that it had used by then. */
  cpu: number;
}

/** What a look at a container shows. */
export interface Look {
  /** Milliseconds since the epoch. */
  at: number;
  /** Nanoseconds of CPU used since its start. */
  cpu: number;
  /** A client is attached, or an exec runs, or one did since the last look. */
  inUse: boolean;
}

/** Looks in one span of idleness. */
const LOOKS = 4;
/** A share of one processor that timers and health checks may take without being work. */
const IDLE_SHARE = 0.01;
const NANOSECONDS_PER_MS = 1e6;

/** Idleness after a look. `last`: when the one before was, and the CPU used by then. The same object: it goes on. */
export function idleAfter(idleness: Idleness, last: { at: number; cpu: number }, look: Look): Idleness {
  const allowed = Math.max(0, look.at - last.at) * NANOSECONDS_PER_MS * IDLE_SHARE;
  const busy = look.inUse || look.cpu - last.cpu > allowed;
  return busy ? { since: look.at, cpu: look.cpu } : idleness;
}

/** Milliseconds to the next look; none when it has been idle for all of `span` (milliseconds). */
export function pauseToLook(idleness: Idleness, span: number, now: number): number | undefined {
  const left = idleness.since + span - now;
  // The clock may have been set back.
  return left <= 0 ? undefined : Math.min(left, span / LOOKS);
}
