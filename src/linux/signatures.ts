import * as k from "./constants.ts";

/**
 * The system calls that programs use, with their parameters as the man pages name them: the kinds tell the printer how
 * to show a value. One list; program/ir.ts accepts no call that is not in it.
 */

export type Flags = { readonly flags: Readonly<Record<string, number>> };
/** `enum`: exactly one of the names. */
export type Choice = { readonly choice: Readonly<Record<string, number>> };
export type ParamKind =
  | "fd"
  | "dirfd"
  | "path"
  | "text"
  | "pointer"
  | "size"
  | "int"
  | "octal"
  | "id"
  | "signal"
  | Flags
  | Choice;
export type Param = readonly [name: string, kind: ParamKind];

/** The constants whose names start with `prefix`, but for those in `without`. */
function named(prefix: string, ...without: string[]): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [name, value] of Object.entries(k)) {
    if (name.startsWith(prefix) && !without.includes(name)) found[name] = value;
  }
  return found;
}

const open: Flags = { flags: named("O_", "O_RDONLY", "O_TMPFILE") };
const at: Flags = { flags: named("AT_", "AT_FDCWD") };
const unlinkFlags: Flags = { flags: { AT_REMOVEDIR: k.AT_REMOVEDIR } };
const mount: Flags = { flags: named("MS_") };
const umount: Flags = { flags: { MNT_DETACH: k.MNT_DETACH, UMOUNT_NOFOLLOW: k.UMOUNT_NOFOLLOW } };
const clone: Flags = { flags: named("CLONE_") };
const mountAttr: Flags = { flags: named("MOUNT_ATTR_", "MOUNT_ATTR__ATIME", "MOUNT_ATTR_RELATIME") };
const openTree: Flags = {
  flags: {
    OPEN_TREE_CLONE: k.OPEN_TREE_CLONE,
    OPEN_TREE_CLOEXEC: k.OPEN_TREE_CLOEXEC,
    AT_RECURSIVE: k.AT_RECURSIVE,
    AT_EMPTY_PATH: k.AT_EMPTY_PATH,
    AT_SYMLINK_NOFOLLOW: k.AT_SYMLINK_NOFOLLOW,
  },
};
const prctl: Choice = { choice: named("PR_", "PR_CAP_AMBIENT_RAISE", "PR_CAP_AMBIENT_CLEAR_ALL") };
const fcntl: Choice = { choice: { F_SETFD: 2, F_GETFL: 3, F_SETFL: 4, F_DUPFD_CLOEXEC: 1030, F_SETPIPE_SZ: 1031 } };
const ioctl: Choice = {
  choice: {
    TIOCSCTTY: k.TIOCSCTTY,
    TIOCSWINSZ: k.TIOCSWINSZ,
    TIOCSPTLCK: k.TIOCSPTLCK,
    TIOCGPTN: k.TIOCGPTN,
    TIOCGPTPEER: k.TIOCGPTPEER,
    SIOCSIFFLAGS: k.SIOCSIFFLAGS,
  },
};
const rlimit: Choice = {
  choice: {
    RLIMIT_CPU: 0,
    RLIMIT_FSIZE: 1,
    RLIMIT_DATA: 2,
    RLIMIT_STACK: 3,
    RLIMIT_CORE: 4,
    RLIMIT_RSS: 5,
    RLIMIT_NPROC: 6,
    RLIMIT_NOFILE: 7,
    RLIMIT_MEMLOCK: 8,
    RLIMIT_AS: 9,
    RLIMIT_LOCKS: 10,
    RLIMIT_SIGPENDING: 11,
    RLIMIT_MSGQUEUE: 12,
    RLIMIT_NICE: 13,
    RLIMIT_RTPRIO: 14,
    RLIMIT_RTTIME: 15,
  },
};
const fsconfig: Choice = {
  choice: { FSCONFIG_SET_FLAG: 0, FSCONFIG_SET_STRING: 1, FSCONFIG_SET_FD: 5, FSCONFIG_CMD_CREATE: 6 },
};

export const SIGNATURES = {
  bind: [
    ["sockfd", "fd"],
    ["addr", "pointer"],
    ["addrlen", "size"],
  ],
  capset: [
    ["hdrp", "pointer"],
    ["datap", "pointer"],
  ],
  chdir: [["path", "path"]],
  chroot: [["path", "path"]],
  clock_gettime: [
    ["clockid", { choice: { CLOCK_MONOTONIC: 1 } }],
    ["tp", "pointer"],
  ],
  clone: [
    ["flags", clone],
    ["stack", "pointer"],
    ["parent_tid", "pointer"],
    ["tls", "pointer"],
    ["child_tid", "pointer"],
  ],
  clone3: [
    ["cl_args", "pointer"],
    ["size", "size"],
  ],
  close: [["fd", "fd"]],
  close_range: [
    ["first", "int"],
    ["last", "int"],
    ["flags", { flags: { CLOSE_RANGE_CLOEXEC: 4 } }],
  ],
  connect: [
    ["sockfd", "fd"],
    ["addr", "pointer"],
    ["addrlen", "size"],
  ],
  dup3: [
    ["oldfd", "fd"],
    ["newfd", "fd"],
    ["flags", open],
  ],
  execve: [
    ["path", "path"],
    ["argv", "pointer"],
    ["envp", "pointer"],
  ],
  execveat: [
    ["dirfd", "dirfd"],
    ["path", "path"],
    ["argv", "pointer"],
    ["envp", "pointer"],
    ["flags", at],
  ],
  exit_group: [["status", "int"]],
  faccessat: [
    ["dirfd", "dirfd"],
    ["path", "path"],
    ["mode", { flags: { X_OK: 1 } }],
  ],
  fchdir: [["fd", "fd"]],
  fchmod: [
    ["fd", "fd"],
    ["mode", "octal"],
  ],
  fchmodat: [
    ["dirfd", "dirfd"],
    ["path", "path"],
    ["mode", "octal"],
  ],
  fchown: [
    ["fd", "fd"],
    ["owner", "id"],
    ["group", "id"],
  ],
  fchownat: [
    ["dirfd", "dirfd"],
    ["path", "path"],
    ["owner", "id"],
    ["group", "id"],
    ["flags", at],
  ],
  fcntl: [
    ["fd", "fd"],
    ["cmd", fcntl],
    ["arg", "int"],
  ],
  fsconfig: [
    ["fd", "fd"],
    ["cmd", fsconfig],
    ["key", "text"],
    ["value", "text"],
    ["aux", "fd"],
  ],
  fsmount: [
    ["fsfd", "fd"],
    ["flags", { flags: { FSMOUNT_CLOEXEC: 1 } }],
    ["attr_flags", mountAttr],
  ],
  fsopen: [
    ["fsname", "text"],
    ["flags", { flags: { FSOPEN_CLOEXEC: 1 } }],
  ],
  getpid: [],
  ioctl: [
    ["fd", "fd"],
    ["op", ioctl],
    ["arg", "pointer"],
  ],
  ioprio_set: [
    ["which", "int"],
    ["who", "int"],
    ["ioprio", "int"],
  ],
  keyctl: [
    ["operation", { choice: named("KEYCTL_") }],
    ["arg2", "text"],
    ["arg3", "int"],
  ],
  kill: [
    ["pid", "int"],
    ["sig", "signal"],
  ],
  listen: [
    ["sockfd", "fd"],
    ["backlog", "int"],
  ],
  mkdirat: [
    ["dirfd", "dirfd"],
    ["path", "path"],
    ["mode", "octal"],
  ],
  mknodat: [
    ["dirfd", "dirfd"],
    ["path", "path"],
    ["mode", "octal"],
    ["dev", "int"],
  ],
  mount: [
    ["source", "path"],
    ["target", "path"],
    ["fstype", "text"],
    ["flags", mount],
    ["data", "text"],
  ],
  mount_setattr: [
    ["dirfd", "dirfd"],
    ["path", "path"],
    ["flags", at],
    ["attr", "pointer"],
    ["size", "size"],
  ],
  move_mount: [
    ["from_dirfd", "dirfd"],
    ["from_path", "path"],
    ["to_dirfd", "dirfd"],
    ["to_path", "path"],
    ["flags", { flags: named("MOVE_MOUNT_") }],
  ],
  open_tree: [
    ["dirfd", "dirfd"],
    ["path", "path"],
    ["flags", openTree],
  ],
  openat: [
    ["dirfd", "dirfd"],
    ["path", "path"],
    ["flags", open],
    ["mode", "octal"],
  ],
  openat2: [
    ["dirfd", "dirfd"],
    ["path", "path"],
    ["how", "pointer"],
    ["size", "size"],
  ],
  personality: [["persona", "int"]],
  pidfd_getfd: [
    ["pidfd", "fd"],
    ["targetfd", "int"],
    ["flags", "int"],
  ],
  pidfd_open: [
    ["pid", "int"],
    ["flags", "int"],
  ],
  pidfd_send_signal: [
    ["pidfd", "fd"],
    ["sig", "signal"],
    ["info", "pointer"],
    ["flags", "int"],
  ],
  pivot_root: [
    ["new_root", "path"],
    ["put_old", "path"],
  ],
  ppoll: [
    ["fds", "pointer"],
    ["nfds", "int"],
    ["tmo", "pointer"],
    ["sigmask", "pointer"],
    ["size", "size"],
  ],
  prctl: [
    ["op", prctl],
    ["arg2", "int"],
    ["arg3", "int"],
    ["arg4", "int"],
    ["arg5", "int"],
  ],
  prlimit64: [
    ["pid", "int"],
    ["resource", rlimit],
    ["new", "pointer"],
    ["old", "pointer"],
  ],
  read: [
    ["fd", "fd"],
    ["buf", "pointer"],
    ["count", "size"],
  ],
  recvfrom: [
    ["sockfd", "fd"],
    ["buf", "pointer"],
    ["size", "size"],
    ["flags", "int"],
    ["src_addr", "pointer"],
    ["addrlen", "pointer"],
  ],
  recvmsg: [
    ["sockfd", "fd"],
    ["msg", "pointer"],
    ["flags", "int"],
  ],
  rt_sigaction: [
    ["signum", "signal"],
    ["act", "pointer"],
    ["oldact", "pointer"],
    ["size", "size"],
  ],
  rt_sigprocmask: [
    ["how", { choice: { SIG_BLOCK: 0, SIG_UNBLOCK: 1, SIG_SETMASK: 2 } }],
    ["set", "pointer"],
    ["oldset", "pointer"],
    ["size", "size"],
  ],
  rt_sigtimedwait: [
    ["set", "pointer"],
    ["info", "pointer"],
    ["timeout", "pointer"],
    ["size", "size"],
  ],
  sched_setaffinity: [
    ["pid", "int"],
    ["size", "size"],
    ["mask", "pointer"],
  ],
  sched_setattr: [
    ["pid", "int"],
    ["attr", "pointer"],
    ["flags", "int"],
  ],
  seccomp: [
    ["operation", { choice: { SECCOMP_SET_MODE_FILTER: 1 } }],
    ["flags", { flags: named("SECCOMP_FILTER_FLAG_") }],
    ["args", "pointer"],
  ],
  sendto: [
    ["sockfd", "fd"],
    ["buf", "pointer"],
    ["size", "size"],
    ["flags", "int"],
    ["dest_addr", "pointer"],
    ["addrlen", "size"],
  ],
  sendmsg: [
    ["sockfd", "fd"],
    ["msg", "pointer"],
    ["flags", "int"],
  ],
  set_mempolicy: [
    ["mode", "int"],
    ["nodemask", "pointer"],
    ["maxnode", "int"],
  ],
  setdomainname: [
    ["name", "text"],
    ["len", "size"],
  ],
  setgid: [["gid", "id"]],
  setgroups: [
    ["size", "int"],
    ["list", "pointer"],
  ],
  sethostname: [
    ["name", "text"],
    ["len", "size"],
  ],
  setns: [
    ["fd", "fd"],
    ["nstype", clone],
  ],
  setresgid: [
    ["rgid", "id"],
    ["egid", "id"],
    ["sgid", "id"],
  ],
  setresuid: [
    ["ruid", "id"],
    ["euid", "id"],
    ["suid", "id"],
  ],
  setsid: [],
  signalfd4: [
    ["fd", "fd"],
    ["mask", "pointer"],
    ["size", "size"],
    ["flags", "int"],
  ],
  setuid: [["uid", "id"]],
  socket: [
    ["domain", { choice: { AF_UNIX: 1, AF_INET: 2 } }],
    ["type", { flags: { SOCK_STREAM: 1, SOCK_DGRAM: 2, SOCK_SEQPACKET: 5, SOCK_CLOEXEC: k.SOCK_CLOEXEC } }],
    ["protocol", "int"],
  ],
  symlinkat: [
    ["target", "path"],
    ["newdirfd", "dirfd"],
    ["linkpath", "path"],
  ],
  umask: [["mask", "octal"]],
  umount2: [
    ["target", "path"],
    ["flags", umount],
  ],
  unlinkat: [
    ["dirfd", "dirfd"],
    ["path", "path"],
    ["flags", unlinkFlags],
  ],
  unshare: [["flags", clone]],
  wait4: [
    ["pid", "int"],
    ["wstatus", "pointer"],
    ["options", "int"],
    ["rusage", "pointer"],
  ],
  write: [
    ["fd", "fd"],
    ["buf", "pointer"],
    ["count", "size"],
  ],
} as const satisfies Record<string, readonly Param[]>;

export type SyscallName = keyof typeof SIGNATURES;
