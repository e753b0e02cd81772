import { openSync } from "node:fs";
import { join } from "node:path";
import { sys, trySys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import { close, read } from "../linux/file.ts";
import {
  FIRST_FREE_FD,
  pidfdGetfd,
  pidfdOpen,
  pidfdSendSignal,
  pipe,
  raise,
  reap,
  sealedExecutable,
  setNonblock,
  socketpair,
  spawn,
} from "../linux/process.ts";
import { readiness } from "../linux/readiness.ts";
import { encode } from "../program/elf.ts";
import type { Program } from "../program/ir.ts";
import { MACHINE } from "../program/machine.ts";
import type { Spec } from "../spec/oci-runtime.ts";
import { FD } from "./builder.ts";
import { type Failure, launchError } from "./diagnose.ts";
import { KEPT_PTY, PID_RECORD } from "./keeper.ts";
import { KEEPER_ARGV0, Running, STATUS_FILE } from "./running.ts";
import { INIT_RECORD } from "./supervise.ts";
import type { Encoded } from "./template.ts";
import type { Tree } from "./tree.ts";
import { createUserNamespace } from "./userns.ts";

/** To the end. */
export async function readAll(fd: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of Bun.file(fd).stream()) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export function hasOwnUserns(spec: Spec): boolean {
  return spec.linux?.namespaces?.some(({ type, path }) => type === "user" && !path) ?? false;
}

/** Pipes of 1 MiB carry a flood with few wake-ups; where the limit is lower, the default stays. */
const PIPE_SIZE = 1 << 20;

/** Descriptors of what was made beforehand: namespaces that the container joins, or that become its own, and a mount. */
export interface Given {
  user?: number;
  network?: number;
  /** In place of a new /dev/shm; attached nowhere yet. */
  shm?: number;
}

export interface StartOptions {
  /** Of a container; an exec makes no namespaces. */
  spec?: Spec;
  runDir: string;
  tty: boolean;
  stdin: boolean;
  keepStdin?: boolean | undefined;
  init?: Program | undefined;
  /** As {@link LaunchRequest} has them. */
  kept?: readonly number[] | undefined;
  given?: Given | undefined;
  /** Of an exec: the container's pidfd, which stays the caller's. */
  target?: number;
  /** To say why the command could not be executed. */
  files(): { tree: Tree; cwd: string };
  /** With a traced program: its pipe, which is closed here, and the row of the program that it times. */
  trace?: { fd: number; rowOf(row: number): number };
}

/** Spawns the program under its pipes, as FD has them, and waits for its report. */
export async function start({ elf, program }: Encoded, options: StartOptions): Promise<Running> {
  const { runDir, tty } = options;
  const theirs: number[] = [];
  const ours: number[] = [];
  const fds: [number, number][] = [];
  /** For the keeper: moved out of the way, given, and closed here after the spawn. */
  const give = (fd: number, ...as: number[]) => {
    const high = raise(fd);
    theirs.push(high);
    for (const n of as) fds.push([high, n]);
    return high;
  };
  const keep = (fd: number) => {
    ours.push(fd);
    return fd;
  };
  try {
    const executable = give(sealedExecutable("inro-keeper", elf));
    const nothing = give(openSync("/dev/null", "r+"));
    let stdin: number | undefined;
    let stdout: number | undefined;
    let stderr: number | undefined;
    if (tty) {
      for (const fd of [FD.stdin, FD.stdout, FD.stderr]) fds.push([nothing, fd]);
      const [near, far] = socketpair(k.SOCK_STREAM);
      give(near, FD.console);
      give(far, FD.consoleFar);
    } else {
      if (options.stdin) {
        const [read, write] = pipe();
        give(read, FD.stdin);
        stdin = keep(raise(write));
        setNonblock(stdin, true);
        if (options.keepStdin) fds.push([stdin, FD.keepStdin]);
      } else fds.push([nothing, FD.stdin]);
      for (const [fd, kept] of [
        [FD.stdout, FD.keepStdout],
        [FD.stderr, FD.keepStderr],
      ] as const) {
        const [read, write] = pipe();
        give(write, fd);
        const mine = keep(raise(read));
        growPipe(mine);
        setNonblock(mine, true);
        fds.push([mine, kept]);
        if (fd === FD.stdout) stdout = mine;
        else stderr = mine;
      }
    }
    // Else the program's own files would land there, and stay open in the keeper.
    for (const fd of [FD.keepStdin, FD.keepStdout, FD.keepStderr])
      if (!fds.some(([, theirs]) => theirs === fd)) fds.push([nothing, fd]);
    const [report, reportFar] = pipe();
    keep(report);
    give(reportFar, FD.report);
    const [exit, exitFar] = pipe();
    const exitOurs = keep(raise(exit));
    fds.push([exitOurs, FD.exitFar]);
    give(exitFar, FD.exit);
    give(openSync(join(runDir, STATUS_FILE), "w", 0o600), FD.status);
    const again = (fd: number, what: string) => sys("fcntl", what, fd, k.F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    const { user, network, shm } = options.given ?? {};
    if (options.spec && hasOwnUserns(options.spec)) {
      const { uidMappings = [], gidMappings = [] } = options.spec.linux!;
      give(
        user === undefined ? createUserNamespace(uidMappings, gidMappings) : again(user, "user namespace"),
        FD.userns,
      );
    }
    if (network !== undefined) give(again(network, "network namespace"), FD.network);
    if (shm !== undefined) give(again(shm, "/dev/shm"), FD.shm);
    if (options.trace) give(options.trace.fd, FD.trace);
    if (options.target !== undefined) give(again(options.target, "pidfd"), FD.target);
    for (const [i, fd] of (options.kept ?? []).entries()) give(again(fd, "kept"), FD.kept + i);
    if (options.init) give(sealedExecutable("docker-init", encode(options.init, MACHINE)), FD.free);

    const keeper = spawn({
      path: `/proc/self/fd/${executable}`,
      argv: [KEEPER_ARGV0, runDir],
      fds,
    });
    for (const fd of theirs.splice(0)) close(fd);
    const keeperFd = keep(pidfdOpen(keeper));
    const { pid, failure } = await readReport(report);
    close(report);
    ours.splice(ours.indexOf(report), 1);
    if (failure || pid === undefined) {
      killAndReap(keeper, keeperFd);
      if (failure?.inInit && options.init) throw launchError(options.init, failure, options.files());
      const { trace } = options;
      const row = failure && (trace ? trace.rowOf(failure.row) : failure.row);
      throw launchError(program(), failure && { ...failure, row: row! }, options.files());
    }
    const pty = tty ? keep(pidfdGetfd(keeperFd, KEPT_PTY)) : undefined;
    ours.length = 0;
    return new Running({ pid, keeper, keeperFd, stdin, stdout, stderr, pty, exit: exitOurs, runDir, child: true });
  } catch (error) {
    for (const fd of theirs) close(fd);
    for (const fd of ours) close(fd);
    throw error;
  }
}

/** Best effort: past fs.pipe-user-pages-soft a plain user gets EPERM, and keeps what there is. */
function growPipe(fd: number): void {
  trySys("fcntl", fd, k.F_SETPIPE_SZ, PIPE_SIZE);
}

/** Of a pipe of ours, to its end: a few records, in which Bun's streams would cost more than all else. */
async function readRecords(fd: number): Promise<Buffer> {
  const buffer = Buffer.alloc(REPORT_SIZE);
  for (let length = 0; ; ) {
    await new Promise<void>((resolve) => readiness.wait(fd, resolve));
    const n = read(fd, buffer.subarray(length));
    length += n;
    if (n === 0 || length === buffer.length) return buffer.subarray(0, length);
  }
}
/** Records of 8 bytes: the pid, what becomes of an init, the first failures. */
const REPORT_SIZE = 512;

/** Reads the launch's report to its end (keeper.ts has the protocol). The first failure is the one that counts. */
async function readReport(fd: number): Promise<{ pid: number | undefined; failure: Failure | undefined }> {
  const records = await readRecords(fd);
  let pid: number | undefined;
  let failure: Failure | undefined;
  let inInit = false;
  for (let at = 0; at + 8 <= records.length; at += 8) {
    const row = records.readUInt32LE(at);
    const value = records.readUInt32LE(at + 4);
    if (row === PID_RECORD) pid = value;
    else if (row === INIT_RECORD) inInit = true;
    else failure ??= { row, errno: value, inInit };
  }
  return { pid, failure };
}

function killAndReap(pid: number, pidfd: number): void {
  pidfdSendSignal(pidfd, SIGKILL);
  reap(pid, 0);
}
const SIGKILL = 9;
