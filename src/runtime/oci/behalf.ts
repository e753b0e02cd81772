import { reap, spawn } from "../../linux/process.ts";

/**
 * On whose behalf a command is done: usually this process was called for it and ends with it. A resident
 * (../resident/serve.ts) does many, each for a process that stands in between, and what is the caller's own (its place
 * among processes, its limits, its signals) stays with that.
 */
export interface Behalf {
  /** Nothing is done before it: until then what is unusual can be left to the caller. Throws {@link Declined}. */
  take(): void;
  readonly taken: boolean;
  /**
   * As {@link spawn}, of an executable that is open here; the new process is a child of the caller's. `foreground`: the
   * caller's signals are not its own from now on.
   */
  spawn(executable: number, fds: Descriptors, foreground: boolean): void;
  /** A child of the caller's has been killed, or is known to have ended: it is to be reaped. */
  failed(): void;
  /** The caller's signals go to `pid` from now on, those too that have come since {@link spawn}. */
  passSignals(pid: number): void;
  /** Until `fd` can be read; others may be served meanwhile. */
  readable(fd: number): Promise<void>;
}

type Descriptors = readonly (readonly [ours: number, theirs: number])[];

/** The resident leaves this call to whoever called. */
export class Declined extends Error {}

let current: Behalf | undefined;

/** Undefined in a process of the command's own. */
export const behalf = (): Behalf | undefined => current;

/** For the resident, at each of its turns. */
export function actFor(next: Behalf | undefined): void {
  current = next;
}

/** The last moment before something is done. A resident does only what is usual: what may wait long it must not. */
export function begin(usual: boolean): void {
  if (!current || current.taken) return;
  if (!usual) throw new Declined();
  current.take();
}

/** Starts a program; what {@link settle} takes. */
export function spawnFor(executable: number, fds: Descriptors, foreground: boolean): number {
  if (!current) return spawn({ path: `/proc/self/fd/${executable}`, argv: ["inro-runtime", "init"], fds });
  current.spawn(executable, fds, foreground);
  return NOT_OURS;
}

/** Waits for the end of a child that is about to end. */
export function settle(pid: number): void {
  if (!current) reap(pid, 0);
}

/** The same for one of a launch that failed. */
export function settleFailed(pid: number): void {
  if (current) current.failed();
  else reap(pid, 0);
}

const NOT_OURS = 0;
