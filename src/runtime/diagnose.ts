import { posix } from "node:path";
import { errnoName, InroError } from "../base/errors.ts";
import { Data, type Program, type Row } from "../program/ir.ts";
import { nameStep } from "../program/print.ts";
import { whyNotExecuted } from "./command.ts";
import type { Tree } from "./tree.ts";
import { forbiddenUserNamespaces } from "./userns-switches.ts";

/** The record of a row that failed: its index, and a positive errno. */
export interface Failure {
  row: number;
  errno: number;
  /** The row is the init program's (`--init`). */
  inInit?: boolean;
}

/** A failed launch: `exitCode` is what docker reports, 126 and 127 for the command itself, 128 for the rest. */
export class LaunchError extends InroError {
  override name = "LaunchError";
  constructor(
    message: string,
    readonly exitCode: 126 | 127 | 128,
    /** The errno's name, and the call that gave it. */
    readonly code?: string,
    readonly call?: string,
  ) {
    super(exitCode === 128 && !OF_THE_CONTAINER.has(code ?? "") ? "internal" : "invalid", message);
  }
}

/** What says that the configuration does not fit the tree or the kernel, and would fail again. */
const OF_THE_CONTAINER = new Set(["EINVAL", "EISDIR", "ELOOP", "ENAMETOOLONG", "ENOENT", "ENOTDIR", "ERANGE", "EROFS"]);

/**
 * `operation object: ERRNO (step n of m)`, and the likely cause beside it. For that of an execve `tree` is looked at,
 * with a relative command below `cwd`.
 */
export function launchError(
  program: Program,
  failure: Failure | undefined,
  files?: { tree: Tree; cwd: string },
): LaunchError {
  const row = failure && program.rows[failure.row];
  if (!failure || !row) {
    return new LaunchError("launch: the keeper ended before the container ran; was it killed?", 128);
  }
  const code = errnoName(failure.errno);
  const call = row.kind === "call" || row.kind === "fail" ? row.call : row.kind;
  const step = `${nameStep(program, failure.row)}: ${code} (step ${failure.row + 1} of ${program.rows.length})`;
  const hint =
    (files && call === "execve" ? executeCause(row, code, files) : undefined) ?? likelyCause(row, call, code);
  const exitCode = call !== "execve" ? 128 : code === "ENOENT" || code === "ENOTDIR" ? 127 : 126;
  return new LaunchError(hint ? `${step}: ${hint}` : step, exitCode, code, call);
}

/** Why a file system cannot be mounted; `why` names the mount. */
function mountForbidden(why: string): string {
  const place = why.replace(/^mounts\[\d+\] /, "");
  if (place === "/proc")
    return "proc in a user namespace needs a pid namespace of its own too, and a host's /proc that nothing covers";
  if (place === "/sys") return "sysfs in a user namespace needs a network namespace of its own too: bind /sys instead";
  return (
    forbiddenUserNamespaces() ?? "mounting needs CAP_SYS_ADMIN, and in a user namespace this file system may be refused"
  );
}

function executeCause(row: Row, code: string, { tree, cwd }: { tree: Tree; cwd: string }): string | undefined {
  if (row.kind === "fail") return "executable file not found in $PATH";
  const path = row.kind === "call" ? row.args[0] : undefined;
  return path instanceof Data ? whyNotExecuted(tree, posix.resolve("/", cwd, path.shown), code) : undefined;
}

function likelyCause(row: Row, call: string, code: string): string | undefined {
  const why = row.why;
  switch (`${call} ${code}`) {
    case "clone3 EPERM":
    case "unshare EPERM":
    case "unshare EACCES":
      return `namespaces are not allowed: ${forbiddenUserNamespaces() ?? "a seccomp filter or a security module forbids them, or they need a user namespace"}`;
    case "setns EPERM":
    case "setns EACCES":
      return (
        forbiddenUserNamespaces() ??
        "no right over the namespace: it must belong to the container's user namespace, or that one's path must be given too"
      );
    case "mount_setattr EPERM":
      return "in a user namespace ro, nosuid, nodev, noexec and the kind of atime of the host's own mount cannot be taken back, and only file systems of that namespace can be id-mapped";
    case "open_tree EINVAL":
      return "in a user namespace a directory with other mounts below it can be bound only as a whole: rbind";
    case "open_tree EPERM":
    case "fsopen EPERM":
    case "fsmount EPERM":
    case "fsconfig EPERM":
    case "mount EPERM":
      return mountForbidden(why);
    case "clone3 ENOSPC":
      return "the limit of namespaces in /proc/sys/user/max_*_namespaces is reached";
    case "clone3 EAGAIN":
      return "the limit of processes is reached: pids.max of the cgroup, RLIMIT_NPROC, kernel.pid_max";
    case "clone3 EACCES":
      return "a cgroup above both this process's and the container's is not delegated to this user";
    case "clone3 EBADF":
    case "clone3 EOPNOTSUPP":
      return "the container's cgroup is gone or cannot hold processes";
    case "prlimit64 EPERM":
      return "a hard limit above the engine's own needs CAP_SYS_RESOURCE";
    case "setgroups EPERM":
    case "setgroups EINVAL":
    case "setresuid EINVAL":
    case "setresgid EINVAL":
      return "the id is not mapped in the user namespace";
    case "seccomp EINVAL":
      return "the kernel refuses the seccomp filter or its flags";
    case "sched_setattr EPERM":
      return "process.scheduler needs CAP_SYS_NICE; under cgroup v1 real-time also needs cpu.rt_runtime_us";
    case "sched_setattr EINVAL":
      return "this kernel has no such process.scheduler";
    case "sched_setattr EBUSY":
      return "process.scheduler asks for more time than the processors have left";
    case "ioprio_set EPERM":
      return "process.ioPriority needs CAP_SYS_NICE";
    case "sched_setaffinity EINVAL":
      return `none of the processors of ${why} is there and in the cpuset of the cgroup`;
    case "set_mempolicy EINVAL":
      return "linux.memoryPolicy: none of its nodes has memory and is in the cpuset, or this kernel has no such mode";
    case "fchdir EACCES":
      return "the user may not enter the working directory";
  }
  if (why === "process.cwd") {
    if (code === "ENOTDIR") return "the working directory is a file";
    if (code === "ELOOP") return "the working directory leads through a link of the kernel's in /proc, or in a circle";
  }
  if (call === "fsconfig" && why.startsWith("root: overlay")) {
    return "the file system of the data root cannot hold overlayfs's upper directory, or a layer directory is gone";
  }
  if (why === "process.oomScoreAdj" && code === "EACCES") {
    return "lowering oom_score_adj needs CAP_SYS_RESOURCE, which the engine lacks";
  }
  if (why.startsWith("process.apparmorProfile") && call === "write") {
    if (code === "ENOENT")
      return "apparmor failed to apply profile: it is not loaded, see /sys/kernel/security/apparmor/profiles";
    return "apparmor failed to apply profile: the profile that we are under does not allow the change";
  }
  if (why.startsWith("process.selinuxLabel") && call === "write") {
    return code === "EINVAL" ? "the loaded policy has no such label" : "the policy does not allow us to set it";
  }
  if (why === "linux.timeOffsets" && code === "ERANGE") {
    return "with this offset the clock would be below zero, or too far in the future (time_namespaces(7))";
  }
  if (call === "setns" && why.startsWith("linux.namespaces") && code === "EPERM") {
    return "it belongs to a user namespace in which the container's process has no rights";
  }
  if (why.startsWith("linux.sysctl") && code === "ENOENT")
    return "this kernel has no such sysctl in the container's namespaces";
  if (why.startsWith("mounts[")) {
    const cause = mountCause(call, code, why);
    if (cause) return cause;
  }
  if (code === "ENOSPC") return "no space left on the device";
  return undefined;
}

function mountCause(call: string, code: string, why: string): string | undefined {
  if (code === "ENODEV") return "this kernel has no such file system";
  switch (`${call} ${code}`) {
    case "openat2 ELOOP":
      return "a symlink is where a kernel file system goes, or has come to where this is mounted";
    case "openat2 ENOENT":
      return "the mount point is missing, and could not be made in a file system that is read-only";
    case "dup3 EBADF":
      return "the limit of open files (RLIMIT_NOFILE) is too low for this many mounts";
    case "mount_setattr EINVAL":
      return why.endsWith(": idmap") ? "this file system cannot be id-mapped on this kernel" : undefined;
    case "fsconfig EINVAL":
    case "mount EINVAL":
      return "the file system does not know an option";
    case "move_mount EINVAL":
    case "move_mount ENOTDIR":
      return "a file goes on a file, and a directory on a directory";
  }
  return undefined;
}
