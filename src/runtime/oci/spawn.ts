import { fstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { invalid, SysError } from "../../base/errors.ts";
import { sys, trySys } from "../../linux/call.ts";
import * as k from "../../linux/constants.ts";
import { close, read, writeAll } from "../../linux/file.ts";
import { FIRST_FREE_FD, pidfdOpen, pipe, raise, sealedExecutable, socketpair } from "../../linux/process.ts";
import { connectUnix, sendWithDescriptor } from "../../linux/unix-socket.ts";
import { encode } from "../../program/elf.ts";
import type { Program } from "../../program/ir.ts";
import { MACHINE } from "../../program/machine.ts";
import { PID_RECORD } from "../keeper.ts";
import { settle, settleFailed, spawnFor } from "./behalf.ts";
import { receiveDescriptor } from "./console.ts";
import { HOOKS_RECORD, LISTENER_RECORD, OCI_FD, READY_RECORD } from "./launcher.ts";

/** A launch that failed in a row of its program. */
export class RowFailure extends Error {
  constructor(
    readonly row: number,
    readonly errno: number,
  ) {
    super(`row ${row}: errno ${errno}`);
  }
}

export interface Launched {
  pid: number;
  /** With `wait`: delivers the wait status, 4 bytes. */
  exit: number | undefined;
  /** With a terminal and no console socket. */
  master: number | undefined;
}

export interface SpawnRequest {
  program: Program;
  wait: boolean;
  preserve: number;
  terminal: boolean;
  consoleSocket: string | undefined;
  /** Where the pidfd of the new process is sent. */
  pidfdSocket?: string | undefined;
  /** FIFOs, open for reading and writing, and for writing; and the user namespace. Not closed here. */
  extra: readonly (readonly [ours: number, theirs: number])[];
  onPid(pid: number): void;
  /** The container waits before pivot_root. What it throws ends the container. */
  onHooks?(): Promise<void>;
  /**
   * Its seccomp filter is installed, and notifies: `fd` is the listener's number in process `pid`, which goes no further
   * before this returns. What it throws ends the container.
   */
  onListener?(pid: number, fd: number): void;
  /** Done while the container sets itself up. */
  meanwhile?(): Promise<unknown>;
}

/**
 * Runs a program that {@link ociLauncher} shaped, until its execve, or until it is ready for `start`. An error leaves
 * no process behind: RowFailure for a row that failed, else what `onPid` or `onHooks` threw. Blocks.
 */
export async function spawnProgram(request: SpawnRequest): Promise<Launched> {
  const theirs: number[] = [];
  const ours: number[] = [];
  const fds: [number, number][] = [];
  const give = (fd: number, as: number) => {
    const high = raise(fd);
    theirs.push(high);
    fds.push([high, as]);
  };
  const keep = (fd: number) => {
    ours.push(fd);
    return fd;
  };
  let pid = 0;
  let parent: number | undefined;
  try {
    const pidfdSocket = request.pidfdSocket === undefined ? undefined : keep(connectUnix(request.pidfdSocket));
    if (request.preserve > MAX_PRESERVED) throw invalid(`--preserve-fds: more than ${MAX_PRESERVED} descriptors`);
    // Preserved ones first: their numbers are the caller's, and nothing of ours may be taken for one.
    const own = request.preserve > 0 ? ownDescriptors() : new Set<number>();
    for (let i = 0; i < request.preserve; i++) preserve(3 + i, OCI_FD.preserved + i, own, fds, theirs);
    const executable = raise(sealedExecutable("inro-runtime", encode(request.program, MACHINE)));
    theirs.push(executable);
    const [report, reportFar] = pipe();
    keep(report);
    give(reportFar, OCI_FD.report);
    let exit: number | undefined;
    if (request.wait) {
      const [near, far] = pipe();
      exit = keep(near);
      give(far, OCI_FD.exit);
    }
    let sync: number | undefined;
    if (request.onHooks) {
      const [near, far] = pipe();
      give(near, OCI_FD.sync);
      sync = keep(far);
    }
    let gate: Gate | undefined;
    if (request.onListener) {
      gate = closedGate();
      keep(gate.near);
      give(gate.far, OCI_FD.gate);
    }
    let console_: number | undefined;
    if (request.terminal) {
      if (request.consoleSocket === undefined) {
        const [near, far] = socketpair(k.SOCK_STREAM);
        console_ = keep(near);
        give(far, OCI_FD.console);
      } else give(connectUnix(request.consoleSocket), OCI_FD.console);
    }
    for (const [fd, as] of request.extra) fds.push([fd, as]);
    parent = spawnFor(executable, fds, request.wait);
    for (const fd of theirs.splice(0)) close(fd);

    await request.meanwhile?.();

    for (const [kind, value] of records(report)) {
      if (kind === PID_RECORD) {
        pid = value;
        if (pidfdSocket !== undefined) sendPidfd(pidfdSocket, pid);
        request.onPid(pid);
      } else if (kind === HOOKS_RECORD) {
        await request.onHooks!();
        writeByte(sync!);
      } else if (kind === LISTENER_RECORD) {
        request.onListener!(pid, value);
        read(gate!.near, Buffer.alloc(gate!.size));
      } else if (kind === READY_RECORD) break;
      else throw new RowFailure(kind, value);
    }
    if (pid === 0) throw new RowFailure(-1, 0);
    const master = console_ === undefined ? undefined : receiveDescriptor(console_);
    for (const fd of ours) if (fd !== exit) close(fd);
    if (!request.wait) settle(parent);
    return { pid, exit, master };
  } catch (error) {
    for (const fd of [...theirs, ...ours]) close(fd);
    if (pid > 0) kill(pid);
    if (parent !== undefined) settleFailed(parent);
    if (pid > 0) settleFailed(pid);
    throw error;
  }
}

/** So that the numbers of ours, which are below, do not reach those of the preserved ones. */
const MAX_PRESERVED = 500;

/** As runc: one message with the descriptor. */
function sendPidfd(socket: number, pid: number): void {
  const pidfd = pidfdOpen(pid);
  try {
    sendWithDescriptor(socket, Buffer.from("pidfd"), pidfd);
  } finally {
    close(pidfd);
  }
}

function preserve(fd: number, as: number, own: ReadonlySet<number>, fds: [number, number][], theirs: number[]): void {
  if (own.has(fd) || trySys("fcntl", fd, F_GETFD, 0) < 0) {
    throw new SysError("--preserve-fds", `descriptor ${fd}`, 9, "it is not open");
  }
  const copy = sys("fcntl", `fd ${fd}`, fd, k.F_DUPFD_CLOEXEC, FIRST_FREE_FD);
  theirs.push(copy);
  fds.push([copy, as]);
}

/** Of Bun's event loop, which takes the lowest free numbers: close-on-exec it sets on those of the caller too. */
function ownDescriptors(): Set<number> {
  const own = new Set<number>();
  for (const name of readdirSync("/proc/self/fd")) {
    try {
      if (readlinkSync(`/proc/self/fd/${name}`) !== "anon_inode:[eventpoll]") continue;
      own.add(Number(name));
      const info = readFileSync(`/proc/self/fdinfo/${name}`, "latin1");
      for (const [, watched] of info.matchAll(/^tfd: +(\d+)/gm)) own.add(Number(watched));
    } catch {
      // The one that reads the directory.
    }
  }
  return own;
}

/** What comes on the report, until its end; the pid first, though the child may be quicker than its parent. */
function* records(report: number): Generator<[kind: number, value: number]> {
  const record = Buffer.alloc(8);
  let early: [number, number][] | undefined = [];
  while (read(report, record) === 8) {
    const next: [number, number] = [record.readUInt32LE(0), record.readUInt32LE(4)];
    if (early && next[0] !== PID_RECORD) {
      early.push(next);
      continue;
    }
    yield next;
    if (early) yield* early;
    early = undefined;
  }
  // The parent was killed, or has failed itself.
  if (early) yield* early;
}

interface Gate {
  near: number;
  far: number;
  size: number;
}

/** A pipe that is full: who writes to it waits until it is read. */
function closedGate(): Gate {
  const [near, far] = pipe();
  const size = sys("fcntl", "F_SETPIPE_SZ", far, k.F_SETPIPE_SZ, 4096);
  writeAll(far, Buffer.alloc(size));
  return { near, far, size };
}

const F_GETFD = 1;

function writeByte(fd: number): void {
  writeAll(fd, Buffer.from([1]));
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

/** Our stdio that becomes the container's user's, as with runc: not the host's own /dev/null. */
export function ownStdio(): number[] {
  return [0, 1, 2].filter((fd) => isNull(fd) === false);
}

/** Our stdio that is the host's /dev/null. */
export function nullStdio(): number[] {
  return [0, 1, 2].filter((fd) => isNull(fd) === true);
}

/** Undefined where it is not open. */
function isNull(fd: number): boolean | undefined {
  try {
    const stat = fstatSync(fd);
    return stat.isCharacterDevice() && stat.rdev === NULL_DEVICE;
  } catch {
    return undefined;
  }
}

/** 1:3. */
const NULL_DEVICE = 0x103;
