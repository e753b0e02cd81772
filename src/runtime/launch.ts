import { existsSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Cgroup } from "../cgroups/cgroup.ts";
import { NATIVE_ABI, trySys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import { close } from "../linux/file.ts";
import {
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
import { encode } from "../program/elf.ts";
import type { Program } from "../program/ir.ts";
import { type RowTime, readTrace, traced } from "../program/trace.ts";
import { lastCapability } from "../security/capabilities.ts";
import { compileFilter } from "../security/seccomp/compile.ts";
import type { Process, Spec } from "../spec/oci-runtime.ts";
import { FD } from "./builder.ts";
import { cgroupMounts } from "./cgroup-mounts.ts";
import { type Failure, launchError } from "./diagnose.ts";
import { execProgram } from "./exec.ts";
import { KEPT_PTY, PID_RECORD } from "./keeper.ts";
import type { Rootfs } from "./rootfs.ts";
import { KEEPER_ARGV0, Running, STATUS_FILE } from "./running.ts";
import { type Plan, setUp } from "./setup.ts";
import { INIT_RECORD, superviseProgram } from "./supervise.ts";
import { type Tree, treeOf } from "./tree.ts";
import { createUserNamespace } from "./userns.ts";

export { LaunchError } from "./diagnose.ts";
export type { Rootfs } from "./rootfs.ts";
export { adopt, type ExitStatus, Running } from "./running.ts";

export interface LaunchRequest {
  id: string;
  spec: Spec;
  rootfs: Rootfs;
  cgroup: Pick<Cgroup, "unifiedDir" | "joinFiles" | "paths">;
  /** An existing directory of this container's, mode 0700: the status file, and the mount point of its root. */
  runDir: string;
  /** A pipe on the container's stdin; else /dev/null. */
  stdin: boolean;
  /** The keeper holds stdin's other end too, so that it stays open when the engine goes. */
  keepStdin?: boolean;
  init: boolean;
}

/** What {@link launch} will run, without running it. */
export function launchProgram(request: LaunchRequest): Program {
  const { spec, cgroup } = request;
  const plan: Plan = {
    spec,
    rootfs: request.rootfs,
    target: request.runDir,
    cgroup: {
      unified: cgroup.unifiedDir,
      joinFiles: cgroup.joinFiles,
      mounts: cgroupMounts(cgroup.paths()),
    },
    filter: spec.linux?.seccomp ? compileFilter(spec.linux.seccomp, NATIVE_ABI) : undefined,
    lastCapability: lastCapability(),
    ownStdio: ownStdio(spec.process?.terminal === true, request.stdin),
    init: request.init ? FD.free : undefined,
    ...(hasOwnUserns(spec) ? { userns: FD.userns } : {}),
  };
  return setUp(plan);
}

function hasOwnUserns(spec: Spec): boolean {
  return spec.linux?.namespaces?.some(({ type, path }) => type === "user" && !path) ?? false;
}

/** Which of 0, 1 and 2 are pipes of ours. */
function ownStdio(tty: boolean, stdin: boolean): number[] {
  return tty ? [] : stdin ? [0, 1, 2] : [1, 2];
}

/**
 * Starts the container of `spec` under a new keeper. Resolves when its command has been executed; a failure before that
 * leaves nothing behind and is a {@link LaunchError}. The result owns its descriptors until `release()`.
 */
export async function launch(request: LaunchRequest): Promise<Running> {
  return (await launchTraced(request, false)).running;
}

/** What a traced launch took: the microseconds of each row that reported, by index in `program.rows`. */
export interface Trace {
  program: Program;
  steps: Promise<RowTime[]>;
}

/** As {@link launch}; with `trace`, every row is timed. `steps` resolves when the container's command runs. */
export async function launchTraced(
  request: LaunchRequest,
  trace = true,
): Promise<{ running: Running; trace: Trace | undefined }> {
  // A volatile overlay marks its work directory, and is refused a second time while the mark is there.
  if (request.rootfs.kind === "overlay") {
    const mark = join(request.rootfs.work, "work", "incompat");
    if (existsSync(mark)) rmSync(mark, { recursive: true });
  }
  const tty = request.spec.process?.terminal === true;
  const program = launchProgram(request);
  const init = request.init ? superviseProgram(request.spec.process!) : undefined;
  const files = { tree: treeOf(request.rootfs, request.spec), cwd: request.spec.process?.cwd ?? "/" };
  if (!trace) return { running: await start(program, { ...request, tty, init, files }), trace: undefined };
  const timed = traced(program, FD.trace);
  const [records, far] = pipe();
  const bytes = readAll(records).finally(() => close(records));
  const original = { fd: far, original: program, rowOf: (row: number) => timed.originOf(row) };
  const running = await start(timed, { ...request, tty, init, files, trace: original });
  return { running, trace: { program, steps: bytes.then(readTrace) } };
}

async function readAll(fd: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of Bun.file(fd).stream()) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export interface ExecRequest {
  running: Running;
  process: Process;
  spec: Spec;
  cgroup: Cgroup;
  /** An existing directory of this exec's own, mode 0700. */
  runDir: string;
  stdin: boolean;
}

/** Starts another process in a running container, under a keeper of its own. As {@link launch}. */
export async function exec(request: ExecRequest): Promise<Running> {
  const { process, spec, cgroup } = request;
  const tty = process.terminal === true;
  const program = execProgram({
    pid: request.running.pid,
    process,
    filter: spec.linux?.seccomp ? compileFilter(spec.linux.seccomp, NATIVE_ABI) : undefined,
    lastCapability: lastCapability(),
    cgroup: { unified: cgroup.unifiedDir, joinFiles: cgroup.joinFiles },
    ownStdio: ownStdio(tty, request.stdin),
  });
  const { runDir, stdin } = request;
  const files = { tree: { layers: [`/proc/${request.running.pid}/root`], binds: [] }, cwd: process.cwd };
  return await start(program, { runDir, stdin, tty, init: undefined, files });
}

const machine = NATIVE_ABI === "aarch64" ? "aarch64" : "x86_64";

/** Pipes of 1 MiB carry a flood with few wake-ups; where the limit is lower, the default stays. */
const PIPE_SIZE = 1 << 20;

interface StartOptions {
  /** Of a container; an exec makes no namespaces. */
  spec?: Spec;
  runDir: string;
  tty: boolean;
  stdin: boolean;
  keepStdin?: boolean;
  init: Program | undefined;
  /** To say why the command could not be executed. */
  files: { tree: Tree; cwd: string };
  /** With a traced program: its pipe, which is closed here, and the program that failures are told of. */
  trace?: { fd: number; original: Program; rowOf(row: number): number };
}

async function start(program: Program, options: StartOptions): Promise<Running> {
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
    const executable = give(sealedExecutable("inro-keeper", encode(program, machine)));
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
    if (options.spec && hasOwnUserns(options.spec)) {
      const { uidMappings = [], gidMappings = [] } = options.spec.linux!;
      give(createUserNamespace(uidMappings, gidMappings), FD.userns);
    }
    if (options.trace) give(options.trace.fd, FD.trace);
    if (options.init) give(sealedExecutable("docker-init", encode(options.init, machine)), FD.free);

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
      if (failure?.inInit && options.init) throw launchError(options.init, failure, options.files);
      const { trace } = options;
      if (trace && failure)
        throw launchError(trace.original, { ...failure, row: trace.rowOf(failure.row) }, options.files);
      throw launchError(program, failure, options.files);
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

/** Reads the launch's report to its end (keeper.ts has the protocol). The first failure is the one that counts. */
async function readReport(fd: number): Promise<{ pid: number | undefined; failure: Failure | undefined }> {
  const records = await readAll(fd);
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
