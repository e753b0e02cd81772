import { read as readAsync, write as writeAsync } from "node:fs";
import { constants } from "node:os";
import { trySys } from "../../linux/call.ts";
import * as k from "../../linux/constants.ts";
import { bytes, room, scratch } from "../../linux/ffi.ts";
import { close } from "../../linux/file.ts";
import { setWindowSize } from "../../linux/process.ts";
import { behalf } from "./behalf.ts";

/** Signals that are ours, or that the kernel sends for what we do. */
const OWN = new Set(["SIGKILL", "SIGSTOP", "SIGCHLD", "SIGURG", "SIGPIPE", "SIGWINCH", "SIGTTIN", "SIGTTOU"]);
/** Faults of this very process. */
const FAULTS = new Set(["SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT", "SIGIOT", "SIGSYS", "SIGPROF"]);

/** Where signals go; before that is known, those that have come. */
let target: number | string[] | undefined;

/** From here on signals do not end this process, but are kept for {@link attend}. */
export function holdSignals(): void {
  if (target !== undefined || behalf()) return;
  target = [];
  for (const name of Object.keys(constants.signals)) {
    if (OWN.has(name) || FAULTS.has(name)) continue;
    try {
      process.on(name, pass as never);
    } catch {
      // One that cannot be caught.
    }
  }
}

function passSignals(pid: number): void {
  holdSignals();
  const early = target as string[];
  target = pid;
  for (const name of early) pass(name);
}

function pass(name: string): void {
  if (typeof target !== "number") target?.push(name);
  else {
    try {
      process.kill(target, name);
    } catch {
      // It has ended.
    }
  }
}

/**
 * Stays with a process in the foreground: passes signals on, carries its terminal, and resolves to its exit status when
 * it has ended. `exit` delivers the wait status; `master` is its terminal, if it has one. Both are closed.
 */
export async function attend(pid: number, exit: number, master: number | undefined): Promise<number> {
  const caller = behalf();
  const ended = caller ? caller.readable(exit).then(() => waitStatus(exit)) : waitStatus(exit);
  if (caller) caller.passSignals(pid);
  else passSignals(pid);
  const terminal = master === undefined ? undefined : relay(master);
  const status = await ended;
  close(exit);
  await terminal?.finish();
  const signal = status & 0x7f;
  return signal === 0 ? (status >> 8) & 0xff : 128 + signal;
}

/**
 * What `fd` delivers, the wait status of a process; SIGKILL where its waiting parent is gone. By the thread pool, so that
 * the event loop has the signals meanwhile.
 */
export function waitStatus(fd: number): Promise<number> {
  const buffer = Buffer.alloc(8);
  return new Promise((resolve) => {
    readAsync(fd, buffer, 0, 8, null, (error, n) => resolve(error || n < 4 ? SIGKILLED : buffer.readInt32LE(0)));
  });
}

/** Its waiting parent is gone. */
const SIGKILLED = 9;

const TIOCGWINSZ = 0x5413;
const TERMIOS_SIZE = 64;

/** Our terminal becomes the container's: raw mode, its size, bytes both ways. */
function relay(master: number): { finish(): Promise<void> } {
  const saved = makeRaw(0);
  const resize = () => {
    const size = windowSizeOf(0);
    if (size) setWindowSize(master, size.rows, size.columns);
  };
  resize();
  if (saved) process.on("SIGWINCH", resize);
  void copy(0, master).catch(() => {});
  const output = copy(master, 1).catch(() => {});
  return {
    async finish() {
      // A background process of the container may hold the terminal: what is there is written, and no more waited for.
      await Promise.race([output, new Promise((resolve) => setTimeout(resolve, 200))]);
      if (saved) scratch(() => trySys("ioctl", 0, k.TCSETS, bytes(saved)));
      close(master);
    },
  };
}

async function copy(from: number, to: number): Promise<void> {
  const buffer = Buffer.alloc(65536);
  for (;;) {
    const n = await new Promise<number>((resolve, reject) =>
      readAsync(from, buffer, 0, buffer.length, null, (error, n) => (error ? reject(error) : resolve(n))),
    );
    if (n === 0) return;
    for (let done = 0; done < n; ) {
      done += await new Promise<number>((resolve, reject) =>
        writeAsync(to, buffer, done, n - done, null, (error, written) => (error ? reject(error) : resolve(written))),
      );
    }
  }
}

/** cfmakeraw(3) on a terminal: its settings before; undefined where it is none. */
function makeRaw(fd: number): Uint8Array | undefined {
  return scratch(() => {
    const { address, view } = room(TERMIOS_SIZE);
    if (trySys("ioctl", fd, k.TCGETS, address) < 0) return undefined;
    const saved = new Uint8Array(view);
    const flags = (at: number, clear: number, set = 0) =>
      view.writeUInt32LE(((view.readUInt32LE(at) & ~clear) | set) >>> 0, at);
    flags(0, 0o2753); // IGNBRK BRKINT PARMRK ISTRIP INLCR IGNCR ICRNL IXON
    flags(4, 1); // OPOST
    flags(8, 0o460, 0o60); // CSIZE PARENB, CS8
    flags(12, 0o100113); // ECHO ECHONL ICANON ISIG IEXTEN
    view[17 + 6] = 1; // VMIN
    view[17 + 5] = 0; // VTIME
    trySys("ioctl", fd, k.TCSETS, address);
    return saved;
  });
}

function windowSizeOf(fd: number): { rows: number; columns: number } | undefined {
  return scratch(() => {
    const { address, view } = room(8);
    if (trySys("ioctl", fd, TIOCGWINSZ, address) < 0) return undefined;
    return { rows: view.readUInt16LE(0), columns: view.readUInt16LE(2) };
  });
}
