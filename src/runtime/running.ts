import { fstatSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { conflict } from "../base/errors.ts";
import { trySys } from "../linux/call.ts";
import { close, read } from "../linux/file.ts";
import { children, pidfdGetfd, pidfdOpen, pidfdSendSignal, reapLater } from "../linux/process.ts";
import { readiness } from "../linux/readiness.ts";
import { FD } from "./builder.ts";
import { KEPT_PTY } from "./keeper.ts";

/** How a process ended: `code` 0 to 255, 128 + signal when a signal ended it. */
export interface ExitStatus {
  code: number;
  signal?: number;
  at: Date;
}

/** In the run directory: the wait status, 8 bytes, once the process has ended. */
export const STATUS_FILE = "status";
const SIGKILL = 9;
const STATUS_SIZE = 8;
/** What a keeper is called; its first argument is the run directory. */
export const KEEPER_ARGV0 = "inro-keeper";

interface Parts {
  pid: number;
  keeper: number;
  keeperFd: number;
  stdin: number | undefined;
  stdout: number | undefined;
  stderr: number | undefined;
  pty: number | undefined;
  /** Our read end of the exit pipe. */
  exit: number;
  runDir: string;
  /** The keeper is our own child, and ours to reap. */
  child: boolean;
}

/** A process under its keeper. It owns its descriptors; `release()` gives them and the keeper up. */
export class Running {
  /** Host number of the container's first process. */
  readonly pid: number;
  readonly keeper: number;
  /** The engine's own ends, O_NONBLOCK and CLOEXEC; a terminal has `pty` instead. */
  readonly stdin: number | undefined;
  readonly stdout: number | undefined;
  readonly stderr: number | undefined;
  readonly pty: number | undefined;
  /** Never rejects; after `abandon()` it may stay open. */
  readonly exited: Promise<ExitStatus>;
  readonly #parts: Parts;
  #pidfd: number | undefined;
  #stdinOpen: boolean;
  /** While its end is waited for. */
  #forget: (() => void) | undefined;
  #released = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.pid = parts.pid;
    this.keeper = parts.keeper;
    this.stdin = parts.stdin;
    this.stdout = parts.stdout;
    this.stderr = parts.stderr;
    this.pty = parts.pty;
    this.#stdinOpen = parts.stdin !== undefined;
    try {
      this.#pidfd = pidfdOpen(parts.pid);
    } catch {
      // Ended already; the keeper has its status.
    }
    this.exited = this.#wait();
  }

  async #wait(): Promise<ExitStatus> {
    // The pipe tells it once, and an engine that is gone may have taken it; the file came first.
    const known = this.#parts.child ? undefined : readStatus(this.#parts.runDir);
    if (known) return known;
    const { exit } = this.#parts;
    await new Promise<void>((resolve) => {
      this.#forget = readiness.wait(exit, resolve);
    });
    this.#forget = undefined;
    const status = Buffer.alloc(STATUS_SIZE);
    if (read(exit, status) >= 4) return decodeStatus(status.readInt32LE(0), new Date());
    // The keeper is gone.
    return readStatus(this.#parts.runDir) ?? KEEPER_LOST();
  }

  /** Of the container's first process; a conflict when it has ended. It stays this object's. */
  get pidfd(): number {
    if (this.#pidfd === undefined) throw conflict(`process ${this.pid} has ended`);
    return this.#pidfd;
  }

  /** Sends a signal to the container's first process; a conflict when it has ended. */
  signal(signal: number): void {
    if (this.#pidfd === undefined || !pidfdSendSignal(this.#pidfd, signal)) {
      throw conflict(`signal ${signal}: process ${this.pid} has ended`);
    }
  }

  /** What the launch gave the keeper to hold, by index; the caller closes it. */
  kept(index: number): number {
    return pidfdGetfd(this.#parts.keeperFd, FD.kept + index);
  }

  /** SIGKILL; nothing happens if it has ended. */
  end(): void {
    if (this.#pidfd !== undefined) pidfdSendSignal(this.#pidfd, 9);
  }

  /** SIGKILL to it and to what it has started in its process group; for an exec, whose session is its own. */
  endGroup(): void {
    // While it is there, the number is no one else's.
    if (this.#pidfd === undefined || !pidfdSendSignal(this.#pidfd, 0)) return;
    trySys("kill", -this.pid, 9);
    this.end();
  }

  /** Closes our end of stdin, so that the container reads end of file (unless the keeper holds it open). */
  closeStdin(): void {
    if (this.#stdinOpen) close(this.#parts.stdin!);
    this.#stdinOpen = false;
  }

  /** Closes everything and leaves keeper and container as they are, for another engine to adopt. */
  abandon(): void {
    if (this.#released) return;
    this.#released = true;
    this.#closeAll();
  }

  #closeAll(): void {
    this.#forget?.();
    const { keeperFd, stdout, stderr, pty, exit } = this.#parts;
    this.closeStdin();
    for (const fd of [keeperFd, stdout, stderr, pty, exit, this.#pidfd]) if (fd !== undefined) close(fd);
    this.#pidfd = undefined;
  }

  /** Ends the keeper (and with it a container that still runs), closes everything. The run directory is the caller's. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    const { keeper, keeperFd, child } = this.#parts;
    pidfdSendSignal(keeperFd, 9);
    if (child) reapLater(keeper);
    this.#closeAll();
  }
}

/** A killed keeper takes its container with it (PR_SET_PDEATHSIG). */
const KEEPER_LOST = (): ExitStatus => ({ code: 137, signal: 9, at: new Date() });

/** wait(2)'s status. */
export function decodeStatus(status: number, at: Date): ExitStatus {
  const signal = status & 0x7f;
  return signal === 0 ? { code: (status >> 8) & 0xff, at } : { code: 128 + signal, signal, at };
}

/** The status that a keeper left behind. */
export function readStatus(runDir: string): ExitStatus | undefined {
  const path = join(runDir, STATUS_FILE);
  try {
    const bytes = readFileSync(path);
    return bytes.length < 4 ? undefined : decodeStatus(bytes.readInt32LE(0), statSync(path).mtime);
  } catch {
    return undefined;
  }
}

/** Every keeper of this user's engines: run directory → pid. One pass over /proc. */
export function findKeepers(): Map<string, number> {
  const found = new Map<string, number>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const [argv0, runDir] = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0");
      if (argv0 !== KEEPER_ARGV0 || !runDir || !isKeeper(name, runDir)) continue;
      // The container's set-up runs under the same name until its execve; only the keeper's own comm tells (and it is no child of one).
      const pid = Number(name);
      const status = readFileSync(`/proc/${name}/status`, "latin1");
      // All four: real, effective, saved, of file access.
      const [, ...uids] = /^Uid:\t(\d+)\t(\d+)\t(\d+)\t(\d+)$/m.exec(status) ?? [];
      if (uids.some((uid) => Number(uid) !== process.getuid?.())) continue;
      if (isKilled(status)) continue;
      const nsPids = /^NSpid:\t(.*)$/m.exec(status)?.[1]?.split("\t").length ?? 1;
      const parent = Number(/^PPid:\t(\d+)$/m.exec(status)?.[1] ?? 0);
      if (nsPids === 1 && found.get(runDir) !== parent) found.set(runDir, pid);
    } catch {
      // Gone meanwhile.
    }
  }
  return found;
}

/** Whether SIGKILL waits for it (proc_pid_status(5)): it is as good as gone, only not yet run on a busy machine. */
function isKilled(status: string): boolean {
  const pending = [...status.matchAll(/^(?:SigPnd|ShdPnd):\t[0-9a-f]*([0-9a-f]{3})$/gm)];
  return pending.some(([, low = "0"]) => (Number.parseInt(low, 16) & (1 << (SIGKILL - 1))) !== 0);
}

/**
 * Anyone can call a process what a keeper is called, and would be taken over in its place: then `exec` would run
 * wherever a child of that process is. Only a keeper is the engine's user and has the status file open, which is in a
 * directory of mode 0700 and in no container (cf. CVE-2020-15257).
 */
function isKeeper(pid: string, runDir: string): boolean {
  const file = statSync(join(runDir, STATUS_FILE), { bigint: true, throwIfNoEntry: false });
  // Gone with its run directory: there is nothing to take over, but it is to be ended.
  if (!file) return true;
  const open = statSync(`/proc/${pid}/fd/${FD.status}`, { bigint: true });
  return open.dev === file.dev && open.ino === file.ino;
}

/**
 * Takes over what an earlier engine started: the keeper that `findKeepers` has for `runDir`, with its pipes. Undefined
 * when it is gone; {@link readStatus} may then know how the container ended.
 */
export function adopt(runDir: string, keepers: Map<string, number> = findKeepers()): Running | undefined {
  const keeper = keepers.get(runDir);
  if (keeper === undefined) return undefined;
  const keeperFd = pidfdOpen(keeper);
  const take = (fd: number): number | undefined => {
    try {
      return pidfdGetfd(keeperFd, fd);
    } catch {
      return undefined;
    }
  };
  const exit = take(FD.exitFar);
  if (exit === undefined) {
    close(keeperFd);
    return undefined;
  }
  const takePipe = (fd: number): number | undefined => {
    const mine = take(fd);
    if (mine === undefined || fstatSync(mine).isFIFO()) return mine;
    close(mine);
    return undefined;
  };
  const stdout = takePipe(FD.keepStdout);
  return new Running({
    // Ended and reaped: no child; 0 is nobody's pid.
    pid: children(keeper)[0] ?? 0,
    keeper,
    keeperFd,
    stdin: takePipe(FD.keepStdin),
    stdout,
    stderr: takePipe(FD.keepStderr),
    pty: stdout === undefined ? take(KEPT_PTY) : undefined,
    exit,
    runDir,
    child: false,
  });
}
