import { readFileSync, statSync } from "node:fs";
import { codeOf, notFound } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import type { Operand, Slot } from "../program/ir.ts";
import type { Filter } from "../security/seccomp/compile.ts";
import type { NamespaceType, Process } from "../spec/oci-runtime.ts";
import { becomeProcess, deathSignal } from "./become.ts";
import { Builder, FD } from "./builder.ts";
import type { Execution } from "./execution.ts";
import { execProcess } from "./execve.ts";
import { installFilter } from "./identity.ts";
import { beKeeper, cloneAndKeep, ownKeyring } from "./keeper.ts";
import { applyLabels, hasLabels, openProc } from "./labels.ts";
import { NAMESPACE_FILE, NAMESPACE_FLAG } from "./namespaces.ts";
import type { Launcher } from "./plan.ts";
import { beforeUserNamespace } from "./privileged.ts";
import { setAffinity } from "./scheduling.ts";
import { controlTerminal, makeTerminal, terminalAsStdio, useTerminal } from "./terminal.ts";
import { mountTools } from "./toolbox.ts";
import { canHide, isLate, Unseen } from "./unseen.ts";

export interface ExecPlan {
  /** Of the container's first process, on the host. */
  pid: number;
  /** The spawned process's descriptor that is its pidfd; without one it is looked up by number. */
  pidfd?: number;
  process: Process;
  /** Executed in place of `process.args[0]`. */
  path?: string;
  /** The container's. */
  execution?: Execution;
  filter: Filter | undefined;
  lastCapability: number;
  cgroup: { unified: string | undefined; joinFiles: readonly string[] };
  ownStdio: readonly number[];
  /** The container's mount namespace is another's, so its root is not the namespace's: {@link enterOtherMounts}. */
  otherMounts?: boolean;
  /** As in the container's own plan. */
  nested?: boolean;
  /**
   * A plain user has to take its seccomp listener out of it (pidfd_getfd(2) asks for the right to trace). By then it has
   * nothing of the host's open, and no more rights than the container's other processes.
   */
  traceable?: boolean;
  /** Processes of the container may trace others: {@link mayTrace}. */
  traced?: boolean;
  /** Places of its tools: {@link mountTools}. */
  tools?: readonly string[];
  launcher?: Launcher;
}

/** The namespaces in which `pid` is not where we are: setns(2) refuses to enter one's own user namespace. */
export function differingNamespaces(pid: number): number {
  let flags = 0;
  for (const [type, file] of Object.entries(NAMESPACE_FILE)) {
    const theirs = inode(`/proc/${pid}/ns/${file}`);
    if (theirs === undefined && file === "mnt") throw notFound(`process ${pid} has ended`);
    if (theirs !== undefined && theirs !== inode(`/proc/self/ns/${file}`))
      flags |= NAMESPACE_FLAG[type as NamespaceType];
  }
  return flags;
}

function inode(path: string): bigint | undefined {
  return statSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
}

/** Whether the user namespace of `pid` refuses setgroups(2) (user_namespaces(7), /proc/pid/setgroups). */
export function refusesSetgroups(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/setgroups`, "latin1").trim() === "deny";
  } catch (error) {
    if (codeOf(error) === "ENOENT") throw notFound(`process ${pid} has ended`);
    throw error;
  }
}

/** Another process in a running container: its namespaces, its cgroup, then as any launch ends. */
export function execProgram(plan: ExecPlan): Builder {
  const { process } = plan;
  const p = new Builder();
  const why = "exec: the container's namespaces";
  const flags = differingNamespaces(plan.pid);
  // Every other container has mounts of its own, so what was looked at is the host's, or nothing.
  if (!(flags & k.CLONE_NEWNS) && !plan.otherMounts) throw notFound(`process ${plan.pid} has ended`);
  const inUserns = (flags & k.CLONE_NEWUSER) !== 0;
  if (inUserns) beforeUserNamespace(p, process);
  beKeeper(p);
  // A number could mean another process by now, and its namespaces the host's.
  const pidfd = plan.pidfd ?? p.result(why, "pidfd", "pidfd_open", [plan.pid, 0]);
  let cgroup: Slot | undefined;
  if (plan.cgroup.unified) {
    const flags = k.O_PATH | k.O_DIRECTORY | k.O_CLOEXEC;
    cgroup = p.result("exec: cgroup", "cgroup", "openat", [k.AT_FDCWD, p.text(plan.cgroup.unified), flags, 0]);
  }
  // The host's own: the container may have put anything on its /proc.
  const score = inUserns ? undefined : process.oomScoreAdj;
  if (score !== undefined || hasLabels(process)) openProc(p);
  const joins = plan.cgroup.joinFiles.map((file, i) => {
    const fd = p.temporary("cgroup.procs");
    p.call("exec: cgroup v1", "openat", [k.AT_FDCWD, p.text(file), k.O_WRONLY | k.O_CLOEXEC, 0], { into: fd });
    p.call("exec: cgroup v1", "dup3", [fd, FIRST_JOIN + i, k.O_CLOEXEC]);
    return FIRST_JOIN + i;
  });
  // A cgroup namespace lets nobody into a cgroup from outside of it (cgroup-v2.rst, "nsdelegate"): it comes after the
  // clone. By number, but the setns(2) next to it fails if the process is not the one of the pidfd any more.
  const late = cgroup && flags & k.CLONE_NEWCGROUP;
  const cgroupNamespace = late
    ? p.result(why, "cgroup namespace", "openat", [
        k.AT_FDCWD,
        p.text(`/proc/${plan.pid}/ns/cgroup`),
        k.O_RDONLY | k.O_CLOEXEC,
        0,
      ])
    : undefined;
  const root = plan.otherMounts ? openRoot(p, plan.pid, pidfd) : undefined;
  const hide = plan.traced && !inUserns && flags & k.CLONE_NEWPID && canHide(process, plan.filter);
  const unseen = hide ? new Unseen(p, cgroup) : undefined;
  const first = flags & ~((late ? k.CLONE_NEWCGROUP : 0) | (unseen ? k.CLONE_NEWPID : 0));
  if (first) p.call(why, "setns", [pidfd, first]);
  if (root) {
    p.call(why, "fchdir", [root]);
    p.call(why, "chroot", [p.text(".")]);
  }
  setAffinity(p, "initial", process);
  const child = p.label("process");
  const clone = plan.launcher ? plan.launcher.clone.bind(plan.launcher) : cloneAndKeep;
  clone(p, { flags: 0, cgroup, child, terminal: process.terminal === true, birth: unseen?.birth });

  if (unseen) {
    unseen.placeMember(p);
    p.call(why, "setns", [pidfd, k.CLONE_NEWPID]);
  } else p.place(child);
  for (const fd of joins) p.call("exec: cgroup v1", "write", [fd, p.text("0"), 1], { expect: 1 });
  if (cgroupNamespace) p.call(why, "setns", [cgroupNamespace, k.CLONE_NEWCGROUP]);
  setAffinity(p, "final", process);
  if (!unseen) ownSession(p);
  if (score !== undefined) p.writeFile("process.oomScoreAdj", p.proc!, "self/oom_score_adj", String(score));
  if (inUserns) {
    p.call("root of the user namespace", "setresgid", [0, 0, 0]);
    p.call("root of the user namespace", "setresuid", [0, 0, 0]);
  }
  if (plan.tools) mountTools(p, plan.tools);
  if (plan.launcher) plan.launcher.inChild?.(p);
  else ownKeyring(p);
  if (process.terminal) {
    const ptmx = p.slot("pty master");
    const nonblock = plan.launcher ? 0 : k.O_NONBLOCK;
    p.call(
      "process.terminal",
      "openat2",
      [k.AT_FDCWD, p.text("/dev/pts/ptmx"), p.how(k.O_RDWR | k.O_NOCTTY | nonblock, k.RESOLVE_NO_SYMLINKS), 24],
      { into: ptmx },
    );
    const slave = makeTerminal(p, ptmx, FD.consoleFar, process.consoleSize, process.user.uid);
    if (unseen) terminalAsStdio(p, slave);
    else useTerminal(p, slave);
  } else if (process.user.uid !== 0) {
    for (const fd of plan.ownStdio)
      p.call("process.user: its stdio can be opened again", "fchown", [fd, process.user.uid, -1], {
        ignore: ["EPERM", "EINVAL"],
      });
  }
  if (hasLabels(process)) applyLabels(p, process);
  becomeProcess(
    p,
    {
      filter: unseen && isLate(process) ? undefined : plan.filter,
      lastCapability: plan.lastCapability,
      init: undefined,
      ...(unseen && { parent: true }),
      spec: { process, ...(plan.execution && { linux: plan.execution }) },
      ...(plan.launcher && { launcher: plan.launcher }),
      ...(plan.traceable && { traceable: true }),
      noSetgroups: (plan.nested === true || Boolean(flags & k.CLONE_NEWUSER)) && refusesSetgroups(plan.pid),
    },
    process.cwd,
    inUserns,
  );
  if (unseen) {
    unseen.release(p, child);
    p.place(child);
    ownSession(p);
    if (process.terminal) controlTerminal(p);
    const pdeathsig = deathSignal(plan.launcher);
    if (pdeathsig !== undefined) p.call("it ends with its parent", "prctl", [k.PR_SET_PDEATHSIG, pdeathsig, 0, 0, 0]);
    if (plan.filter && isLate(process)) installFilter(p, plan.filter);
  }
  execProcess(p, process, plan.path);
  return p;
}

function ownSession(p: Builder): void {
  p.call("process: a session of its own", "setsid", []);
}

/** The root of process `pid`, looked up by number: it is the pidfd's if that one is still there afterwards. */
function openRoot(p: Builder, pid: number, pidfd: Operand): Slot {
  const why = "exec: the container's root";
  const flags = k.O_PATH | k.O_DIRECTORY | k.O_CLOEXEC;
  const root = p.result(why, "root", "openat", [k.AT_FDCWD, p.text(`/proc/${pid}/root`), flags, 0]);
  p.call(why, "pidfd_send_signal", [pidfd, 0, 0, 0]);
  return root;
}

const FIRST_JOIN = 350;
