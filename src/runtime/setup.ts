import { invalid } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import type { Slot } from "../program/ir.ts";
import type { Filter } from "../security/seccomp/compile.ts";
import type { NamespaceType, Spec } from "../spec/oci-runtime.ts";
import { Builder, FD } from "./builder.ts";
import { type FreshHierarchy, openCgroups } from "./cgroup-mounts.ts";
import { startNumbers } from "./descriptors.ts";
import { makeDevices, openHostDevices, type PlannedDevice, planDevices } from "./devices.ts";
import { type Execution, setExecution } from "./execution.ts";
import { execProcess } from "./execve.ts";
import { becomeUser, setLimits } from "./identity.ts";
import { beKeeper, cloneAndKeep, closeAll, ownKeyring, unblockSignals } from "./keeper.ts";
import { applyLabels, hasLabels, openProc } from "./labels.ts";
import { type Given, isFresh, type PlannedMount, planMounts } from "./mount-plan.ts";
import { attachMounts, openSources } from "./mounts.ts";
import { enterJoined, type Namespaces, openJoined, planNamespaces } from "./namespaces.ts";
import { beforeUserNamespace, writeOomScore } from "./privileged.ts";
import { inheritedPropagation, propagateRoot, rootPropagation } from "./propagation.ts";
import { maskedPaths, readonlyPaths } from "./restricted-paths.ts";
import {
  detachedRoot,
  enterMountNamespace,
  enterOtherMounts,
  needsClassicOverlay,
  pivot,
  type Rootfs,
} from "./rootfs.ts";
import { isInherited, schedule } from "./scheduling.ts";
import { handOver } from "./supervise.ts";
import { sysctlPath } from "./sysctl.ts";
import { makeTerminal, useTerminal } from "./terminal.ts";
import { resolveInTree, treeOf } from "./tree.ts";

/** What a launch needs besides the config. All paths are the host's. */
export interface Plan {
  spec: Spec;
  rootfs: Rootfs;
  /** A directory of ours, on which the root is mounted in the container's mount namespace. */
  target: string;
  cgroup: {
    /** cgroup2 directory for CLONE_INTO_CGROUP. */
    unified: string | undefined;
    /** cgroup v1 `tasks` files to join. */
    joinFiles: readonly string[];
    /** What the container sees under its cgroup mount. */
    mounts: readonly { name: string; path: string }[];
    /** The same without a cgroup of its own. */
    fresh?: readonly FreshHierarchy[];
  };
  filter: Filter | undefined;
  lastCapability: number;
  /** The container's stdio that is a pipe of ours, and so becomes its user's. */
  ownStdio: readonly number[];
  /** --init: the descriptor on which the init program's file is open. */
  init: number | undefined;
  /** The container's own user namespace, made by the caller: the spawned process's descriptor. */
  userns?: number;
  /** Launched without the right to mount: the user namespace comes first, and gives it. */
  plain?: boolean;
  /** We are in a user namespace already: no root there may make device nodes, and the mounts may be those of another. */
  nested?: boolean;
  /** Others of the user may look into the set-up: it joins no namespace, so only they could. */
  traceable?: boolean;
  /** The user namespace refuses setgroups(2). */
  noSetgroups?: boolean;
  /** What the launcher made for single mounts, by their index in the config. */
  given?: ReadonlyMap<number, Given>;
  /** The root becomes `/`, and the host's tree goes: in place of {@link pivot}. */
  enterRoot?(p: Builder): void;
  /** The first descriptor number that is free for the program's own. */
  firstNumber?: number;
  /** Namespaces that are joined by path and were opened by the caller: the spawned process's descriptors. */
  joined?: ReadonlyMap<NamespaceType, number>;
  /** Who launches, when it is not the engine with its keeper. */
  launcher?: Launcher;
}

/** What differs for another launcher (oci/): rows in place of the keeper's, and rows between the others. */
export interface Launcher {
  /** clone3(2), and what becomes of the parent. In place of {@link cloneAndKeep}. */
  clone(p: Builder, options: Parameters<typeof cloneAndKeep>[1]): void;
  /** Of the container's process, when its parent ends. */
  pdeathsig?: number;
  /** In the container's process, when it is root of the container's user namespace. */
  inChild?(p: Builder): void;
  /** All mounts and devices are there, and the host's tree too. */
  beforePivot?(p: Builder): void;
  /** Leaves the container only its own descriptors. In place of {@link closeAll}. */
  closeAll(p: Builder): void;
  /** In the container's working directory, as root, no filter installed. */
  beforeUser?(p: Builder): void;
  /**
   * The seccomp filter is installed and notifies on `fd`: until somebody serves that, no call is safe but write(2), which
   * no filter may notify.
   */
  listener?(p: Builder, fd: Slot): void;
  /** Under the filter: the next row is the execve. */
  beforeExec?(p: Builder): void;
}

/** A plan whose paths have been looked up on the host: what the rows depend on, and nothing that changes later. */
export interface Prepared {
  plan: Plan;
  namespaces: Namespaces;
  mounts: PlannedMount[];
  devices: PlannedDevice[];
  /** /dev is a file system of the container's, for us to fill. */
  ownDev: boolean;
  /** Nothing of the image is in it. */
  freshDev: boolean;
  /** The working directory, without symlinks. */
  cwd: string;
}

/** Looks at the host and the image; makes nothing. Bad configs are invalid-argument errors. */
export function prepare(plan: Plan): Prepared {
  const { linux, process } = plan.spec;
  if (!process) throw invalid("process: missing");
  const tree = treeOf(plan.rootfs, plan.spec);
  const mounts = planMounts(plan.spec, tree.layers, plan.given);
  const dev = mounts.findLast((m) => m.destination === "/dev" && m.kind !== "remount");
  const ownDev = dev === undefined || dev.kind === "filesystem";
  const bind = plan.nested === true || plan.spec.linux?.namespaces?.some(({ type }) => type === "user") === true;
  return {
    plan,
    namespaces: planNamespaces(plan.spec),
    mounts,
    devices: planDevices(linux?.devices ?? [], { tree, mounts, bind, ownDev }),
    ownDev,
    freshDev: dev !== undefined && isFresh(dev),
    cwd: process.cwd === "/" ? "/" : resolveInTree(tree, process.cwd),
  };
}

/** The program of a plan. */
export function setUp(plan: Plan): Builder {
  return compose(prepare(plan));
}

/** How a container starts: one straight list, in the kernel's order. */
export function compose({ plan, namespaces, mounts, devices, ownDev, freshDev, cwd }: Prepared): Builder {
  const { spec } = plan;
  const { linux } = spec;
  const process = spec.process!;
  const p = new Builder();

  // On the host: everything that a host path names is opened here, attached nowhere.
  if (plan.firstNumber !== undefined) startNumbers(p, plan.firstNumber);
  const inUserns = namespaces.has("user");
  if (inUserns) beforeUserNamespace(p, process);
  beKeeper(p, plan.traceable);
  if (hasLabels(process)) openProc(p);
  const joined = openJoined(p, namespaces, plan.joined);
  if (plan.userns !== undefined) {
    const why = "linux.namespaces user";
    joined.set("user", p.result(why, "user namespace", "fcntl", [plan.userns, k.F_DUPFD_CLOEXEC, FD.free]));
  }
  const userns = joined.get("user");
  if (namespaces.own("user") && plan.userns === undefined)
    throw invalid("linux.namespaces: the user namespace is made by the caller and joined by path");
  if (plan.plain) enterJoined(p, new Map([...joined].filter(([type]) => type === "user")));
  if (plan.plain || plan.nested) {
    // Mounts can be opened only in a mount namespace that one's user namespace owns; they are the host's still, and
    // nothing of them goes back there (mount_namespaces(7), "Restrictions on mount namespaces").
    p.call("linux.namespaces mount", "unshare", [k.CLONE_NEWNS]);
  }
  const classic = needsClassicOverlay(plan.rootfs);
  if (classic && userns) throw invalid("a user namespace with an overlay needs Linux 6.5");
  const detached = classic
    ? undefined
    : detachedRoot(p, plan.rootfs, userns, rootPropagation(linux?.rootfsPropagation));
  openSources(p, mounts, userns, inheritedPropagation(linux?.rootfsPropagation));
  const cgroupMounts = openCgroups(p, mounts, plan.cgroup.mounts, plan.cgroup.fresh);
  const bound = openHostDevices(p, devices);
  let cgroup: Slot | undefined;
  if (plan.cgroup.unified) {
    cgroup = p.result("cgroup", "cgroup", "openat", [
      k.AT_FDCWD,
      p.text(plan.cgroup.unified),
      k.O_PATH | k.O_DIRECTORY | k.O_CLOEXEC,
      0,
    ]);
  }
  timeOffsets(p, spec);
  enterJoined(p, plan.plain ? new Map([...joined].filter(([type]) => type !== "user")) : joined);
  const child = p.label("container");
  const clone = plan.launcher ? plan.launcher.clone.bind(plan.launcher) : cloneAndKeep;
  const flags = cloneFlags(spec, namespaces.clone) & ~(plan.plain ? k.CLONE_NEWNS : 0);
  clone(p, { flags, cgroup, child, terminal: process.terminal === true });

  // In the container's namespaces, still on the host's tree.
  p.place(child);
  for (const file of plan.cgroup.joinFiles) p.writeFile("cgroup v1", k.AT_FDCWD, file, "0");
  if (namespaces.newCgroup) p.call("linux.namespaces cgroup", "unshare", [k.CLONE_NEWCGROUP]);
  p.call("process: a session of its own", "setsid", []);
  if (process.oomScoreAdj !== undefined && !inUserns) writeOomScore(p, process.oomScoreAdj);
  p.call("modes are meant as they are given", "umask", [0]);
  enterMountNamespace(p, plan.rootfs, detached, plan.target);
  // Not earlier: the way to the target may be open to the host's root alone.
  if (userns) {
    const why = "root of the user namespace";
    if (!plan.noSetgroups) p.call(why, "setgroups", [0, 0]);
    p.call(why, "setresgid", [0, 0, 0]);
    p.call(why, "setresuid", [0, 0, 0]);
    // Another user's memory is out of sight again.
    if (plan.traceable) p.call(why, "prctl", [k.PR_SET_DUMPABLE, 1, 0, 0, 0]);
  }
  // Not earlier: a keyring belongs to its maker, and a name is known in one user namespace.
  if (plan.launcher) plan.launcher.inChild?.(p);
  else ownKeyring(p);
  const { proc, late } = attachMounts(p, mounts, cgroupMounts, userns);
  makeDevices(p, devices, bound, { ownDev, fresh: freshDev });
  const slave = process.terminal ? terminal(p, spec, plan.launcher ? 0 : k.O_NONBLOCK) : undefined;
  if (cwd !== "/") p.makeDirectory("process.cwd", cwd);

  if (namespaces.own("network")) loopbackUp(p);
  if (spec.hostname) {
    if (!namespaces.has("uts")) throw invalid("hostname: only with a uts namespace");
    p.call("hostname", "sethostname", [p.text(spec.hostname), Buffer.byteLength(spec.hostname)]);
  }
  if (spec.domainname) {
    if (!namespaces.has("uts")) throw invalid("domainname: only with a uts namespace");
    p.call("domainname", "setdomainname", [p.text(spec.domainname), Buffer.byteLength(spec.domainname)]);
  }
  for (const [key, value] of Object.entries(linux?.sysctl ?? {})) {
    const path = sysctlPath(key);
    if (!/^[\w.\-/]+$/.test(key) || key.includes(".."))
      throw invalid(`linux.sysctl: ${JSON.stringify(key)} is no name`);
    if (!proc) throw invalid(`linux.sysctl ${key}: there is no mount of proc on /proc`);
    // Through proc's own descriptor: no path of the container is in between (CVE-2025-52881).
    p.writeFile(`linux.sysctl ${key}`, proc, `sys/${path}`, value);
  }
  readonlyPaths(p, linux?.readonlyPaths ?? []);
  maskedPaths(p, linux?.maskedPaths ?? [], linux?.mountLabel);
  for (const { why, number } of late) p.setAttributes(why, number, { set: k.MOUNT_ATTR_RDONLY });
  if (spec.root?.readonly) p.setAttributes("root.readonly", p.root!, { set: k.MOUNT_ATTR_RDONLY });
  plan.launcher?.beforePivot?.(p);
  const others = joined.get("mount");
  if (others) enterOtherMounts(p, others);
  else {
    (plan.enterRoot ?? pivot)(p);
    propagateRoot(p, linux?.rootfsPropagation);
  }

  // In the container.
  if (slave) useTerminal(p, slave);
  else if (process.user.uid !== 0) {
    for (const fd of plan.ownStdio)
      p.call("process.user: its stdio can be opened again", "fchown", [fd, process.user.uid, -1], {
        ignore: ["EPERM", "EINVAL"],
      });
  }
  if (hasLabels(process)) applyLabels(p, process);
  becomeProcess(p, plan, process.cwd, inUserns);
  plan.launcher?.beforeExec?.(p);
  if (plan.init === undefined) execProcess(p, process);
  else handOver(p, plan.init, process);
  return p;
}

/** The end of every launch, of a container and of an exec alike. `early`: {@link beforeUserNamespace} went before. */
export function becomeProcess(
  p: Builder,
  plan: Pick<Plan, "filter" | "lastCapability" | "init" | "launcher" | "traceable" | "noSetgroups"> & {
    spec: Pick<Spec, "process"> & { linux?: Execution };
    /** It is not this process but a child of it that goes on to execve. */
    parent?: boolean;
  },
  cwd: string,
  early: boolean,
): void {
  const process = plan.spec.process!;
  unblockSignals(p);
  if (plan.launcher) plan.launcher.closeAll(p);
  else if (plan.init === undefined) closeAll(p);
  else {
    p.call("--init", "dup3", [plan.init, FD.exit, k.O_CLOEXEC]);
    p.call("only stdio, the report and the init program stay open", "close_range", [FD.exit + 1, 0xffff_ffff, 0]);
  }
  const entered = enterDirectory(p, cwd, process.user.uid !== 0);
  // What is above needs a few descriptors, perhaps more than the container may have.
  setLimits(p, process);
  if (!early || !isInherited(process)) schedule(p, process);
  if (plan.spec.linux) setExecution(p, plan.spec.linux);
  plan.launcher?.beforeUser?.(p);
  const pdeathsig = plan.parent ? undefined : deathSignal(plan.launcher);
  const { lastCapability, traceable, noSetgroups } = plan;
  becomeUser(p, process, plan.filter, {
    lastCapability,
    ...(pdeathsig !== undefined && { pdeathsig }),
    ...(traceable && { traceable }),
    ...(noSetgroups && { noSetgroups }),
    ...(plan.launcher?.listener && { listener: plan.launcher.listener }),
    ...(entered && { asUser: () => enterAsUser(p, cwd, entered) }),
  });
}

/** What a process gets when its parent ends, PR_SET_PDEATHSIG. */
export function deathSignal(launcher: Launcher | undefined): number | undefined {
  return launcher ? launcher.pdeathsig : SIGKILL;
}

/**
 * The working directory, as root: the user may not be allowed to enter it. Nothing of the host is open any more, and with
 * the pid namespace of others their roots and descriptors are a magic link away, which root could follow and the
 * container's process could not (CVE-2024-21626).
 */
function enterDirectory(p: Builder, cwd: string, again: boolean): Slot | undefined {
  const why = "process.cwd";
  const directory = p.temporary("working directory");
  const ignore = again ? (["EACCES", "EPERM", "EBADF"] as const) : [];
  const entered = again ? p.slot("working directory") : undefined;
  const how = p.how(k.O_PATH | k.O_DIRECTORY, k.RESOLVE_NO_MAGICLINKS);
  p.call(why, "openat2", [k.AT_FDCWD, p.text(cwd), how, 24], { into: directory, ignore });
  p.call(why, "fchdir", [directory], { ignore, ...(entered && { into: entered }) });
  p.call(why, "close", [directory], { ignore });
  return entered;
}

/** On some file systems (FUSE, NFS without root's rights) it is the other way round. */
function enterAsUser(p: Builder, cwd: string, entered: Slot): void {
  const done = p.label("in the working directory");
  p.branch("process.cwd", entered, "equal", 0, done);
  enterDirectory(p, cwd, false);
  p.place(done);
}

const SIGKILL = 9;

/** A new time namespace with offsets is made by unshare(2), since they are written before anybody is in it. */
function timeOffsets(p: Builder, spec: Spec): void {
  const offsets = Object.entries(spec.linux?.timeOffsets ?? {});
  if (offsets.length === 0) return;
  const lines = offsets.map(([clock, { secs = 0, nanosecs = 0 }]) => `${clock} ${secs} ${nanosecs}\n`).join("");
  p.call("linux.timeOffsets", "unshare", [k.CLONE_NEWTIME]);
  p.writeFile("linux.timeOffsets", k.AT_FDCWD, "/proc/self/timens_offsets", lines);
}

function cloneFlags(spec: Spec, flags: number): number {
  return Object.keys(spec.linux?.timeOffsets ?? {}).length > 0 ? flags & ~k.CLONE_NEWTIME : flags;
}

function loopbackUp(p: Builder): void {
  const why = "linux.namespaces network: lo up";
  const socket = p.temporary("socket");
  p.call(why, "socket", [k.AF_INET, k.SOCK_DGRAM | k.SOCK_CLOEXEC, 0], { into: socket });
  const request = Buffer.alloc(40);
  request.write("lo");
  request.writeUInt16LE(0x41 /* IFF_UP | IFF_RUNNING */, 16);
  p.call(why, "ioctl", [socket, k.SIOCSIFFLAGS, p.bytes(request, "lo: IFF_UP|IFF_RUNNING")]);
}

/** The pty comes from the container's own devpts, and shows as /dev/console too. */
function terminal(p: Builder, spec: Spec, nonblock: number): Slot {
  const why = "process.terminal";
  const ptmx = p.slot("pty master");
  p.call(
    why,
    "openat2",
    [
      p.root!,
      p.text("/dev/pts/ptmx"),
      p.how(k.O_RDWR | k.O_NOCTTY | nonblock, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_SYMLINKS),
      24,
    ],
    { into: ptmx },
  );
  const slave = makeTerminal(p, ptmx, FD.consoleFar, spec.process!.consoleSize, spec.process!.user.uid);
  // CVE-2025-52565: the slave itself, by descriptor, lands on /dev/console, and not where a symlink there leads.
  p.makeFile(why, "/dev/console", { strict: true });
  p.attach(why, p.copyMount(why, slave, "", 0), p.mountPoint(why, "/dev/console"));
  return slave;
}
