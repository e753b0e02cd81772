import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ownerUid } from "../base/owner.ts";
import type { Cgroup } from "../cgroups/cgroup.ts";
import { NATIVE_ABI } from "../linux/call.ts";
import { close } from "../linux/file.ts";
import { pipe } from "../linux/process.ts";
import { inUserNamespace } from "../linux/rights.ts";
import { encode } from "../program/elf.ts";
import type { Program } from "../program/ir.ts";
import { MACHINE } from "../program/machine.ts";
import { type RowTime, readTrace, traced } from "../program/trace.ts";
import { lastCapability } from "../security/capabilities.ts";
import { compileFilter } from "../security/seccomp/compile.ts";
import type { NamespaceType, Process, Spec } from "../spec/oci-runtime.ts";
import { FD } from "./builder.ts";
import { cgroupMounts, freshHierarchies } from "./cgroup-mounts.ts";
import { execProgram, refusesSetgroups } from "./exec.ts";
import type { Plan } from "./plan.ts";
import type { Rootfs } from "./rootfs.ts";
import type { Running } from "./running.ts";
import { setUp } from "./setup.ts";
import { type Given, hasOwnUserns, readAll, start } from "./start.ts";
import { pauseProgram, superviseProgram } from "./supervise.ts";
import { type Encoded, encodeKnown, encodeLaunch } from "./template.ts";
import type { Toolbox } from "./toolbox.ts";
import { treeOf } from "./tree.ts";
import { mayTrace } from "./unseen.ts";

export { LaunchError } from "./diagnose.ts";
export type { Rootfs } from "./rootfs.ts";
export { adopt, type ExitStatus, Running } from "./running.ts";

export interface LaunchRequest {
  id: string;
  /** Requests of one kind differ in nothing but the id. Of a kind that was launched before, `spec` is not read. */
  kind?: string | undefined;
  readonly spec: Spec;
  /** As in `spec.process`. */
  terminal: boolean;
  rootfs: Rootfs;
  cgroup: Pick<Cgroup, "unifiedDir" | "joinFiles" | "paths">;
  /** An existing directory of this container's, mode 0700: the status file, and the mount point of its root. */
  runDir: string;
  /** A pipe on the container's stdin; else /dev/null. */
  stdin: boolean;
  /** The keeper holds stdin's other end too, so that it stays open when the engine goes. */
  keepStdin?: boolean;
  init: boolean;
  /** In place of its command: a process that only reaps what others leave, until it is told to end. Needs `init`. */
  pause?: boolean;
  /** Descriptors that the keeper is to hold, for whoever adopts the container: {@link Running.kept}. They stay the caller's. */
  kept?: readonly number[] | undefined;
  /**
   * Made beforehand, with descriptors that stay the caller's: where the spec joins a network, its user namespace, and what is
   * to be its /dev/shm.
   */
  given?: Given;
}

function initProgram({ pause, spec }: LaunchRequest): Program {
  return pause ? pauseProgram() : superviseProgram(spec.process!);
}

/** What {@link launch} will run, without running it. */
export function launchProgram(request: LaunchRequest): Program {
  return setUp(planOf(request));
}

function planOf(request: LaunchRequest): Plan {
  const { spec, cgroup } = request;
  return {
    spec,
    rootfs: request.rootfs,
    target: request.runDir,
    cgroup: {
      unified: cgroup.unifiedDir,
      joinFiles: cgroup.joinFiles,
      mounts: cgroupMounts(cgroup.paths()),
      ...(cgroup.paths().length === 0 ? { fresh: freshHierarchies(spec) } : {}),
    },
    filter: spec.linux?.seccomp ? compileFilter(spec.linux.seccomp, NATIVE_ABI) : undefined,
    lastCapability: lastCapability(),
    ownStdio: ownStdio(request.terminal, request.stdin),
    init: request.init ? FD.free : undefined,
    ...(hasOwnUserns(spec) ? { userns: FD.userns } : {}),
    ...(request.kept?.length ? { kept: request.kept.length } : {}),
    ...(inUserNamespace()
      ? { nested: true, ownMounts: ownerUid() !== 0, noSetgroups: refusesSetgroups(process.pid) }
      : {}),
    ...(request.given?.network === undefined ? {} : { joined: JOINED_NETWORK }),
    ...(request.given?.shm === undefined ? {} : { given: givenShm(spec) }),
  };
}

/** A volume in its place comes first. */
function givenShm({ mounts = [] }: Spec): Plan["given"] & {} {
  const at = mounts.findIndex(({ destination, type }) => destination === "/dev/shm" && type === "tmpfs");
  return new Map(at < 0 ? [] : [[at, { mount: FD.shm }]]);
}

const JOINED_NETWORK: ReadonlyMap<NamespaceType, number> = new Map([["network", FD.network]]);

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
  const { id, kind, runDir, stdin, keepStdin, kept, given, terminal: tty } = request;
  const files = () => ({ tree: treeOf(request.rootfs, request.spec), cwd: request.spec.process?.cwd ?? "/" });
  const known = kind === undefined || trace ? undefined : encodeKnown(kind, id, () => launchProgram(request));
  if (known) return { running: await start(known, { runDir, tty, stdin, keepStdin, given, files }), trace: undefined };
  const init = request.init ? initProgram(request) : undefined;
  const options = { spec: request.spec, runDir, tty, stdin, keepStdin, kept, given, init, files };
  if (!trace) {
    return { running: await start(encodeLaunch(planOf(request), id, MACHINE, kind), options), trace: undefined };
  }
  const program = launchProgram(request);
  const timed = traced(program, FD.trace);
  const [records, far] = pipe();
  const bytes = readAll(records).finally(() => close(records));
  const encoded = { elf: encode(timed, MACHINE), program: () => program };
  const rowOf = (row: number) => timed.originOf(row);
  const running = await start(encoded, { ...options, trace: { fd: far, rowOf } });
  return { running, trace: { program, steps: bytes.then(readTrace) } };
}

export interface ExecRequest {
  running: Running;
  process: Process;
  spec: Spec;
  /** Absent: the caller's. */
  cgroup?: Cgroup | undefined;
  /** An existing directory of this exec's own, mode 0700. */
  runDir: string;
  stdin: boolean;
  /** Mounted for this process alone; its descriptors stay the caller's. */
  tools?: Toolbox | undefined;
}

/** Starts another process in a running container, under a keeper of its own. As {@link launch}. */
export async function exec(request: ExecRequest): Promise<Running> {
  const { process, running, runDir, stdin, tools } = request;
  const tty = process.terminal === true;
  const files = () => ({ tree: { layers: [`/proc/${running.pid}/root`], binds: [] }, cwd: process.cwd });
  const kept = tools && [tools.files, ...tools.trees.map(({ fd }) => fd)];
  return await start(encodeExec(request), { runDir, stdin, tty, files, target: running.pidfd, kept });
}

/** Executables of execs in a container, by what they depend on: a health check is the same every time. */
const execs = new WeakMap<Running, Map<string, Uint8Array>>();
const EXECS = 8;

function encodeExec({ running, process, spec, cgroup, stdin, tools }: ExecRequest): Encoded {
  const place = { unified: cgroup?.unifiedDir, joinFiles: cgroup?.joinFiles ?? [] };
  const places = tools?.trees.map(({ at }) => at);
  const program = () =>
    execProgram({
      pid: running.pid,
      pidfd: FD.target,
      process,
      traced: mayTrace(spec),
      filter: spec.linux?.seccomp ? compileFilter(spec.linux.seccomp, NATIVE_ABI) : undefined,
      lastCapability: lastCapability(),
      cgroup: place,
      nested: inUserNamespace(),
      ownStdio: ownStdio(process.terminal === true, stdin),
      ...(places ? { tools: places } : {}),
    });
  let known = execs.get(running);
  if (!known) {
    known = new Map();
    execs.set(running, known);
  }
  const key = JSON.stringify([process, place, stdin, places]);
  let elf = known.get(key);
  if (!elf) {
    elf = encode(program(), MACHINE);
    if (known.size === EXECS) known.delete(known.keys().next().value!);
    known.set(key, elf);
  }
  return { elf, program };
}
