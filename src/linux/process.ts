import { readFileSync } from "node:fs";
import { SysError } from "../base/errors.ts";
import { sys, trySys } from "./call.ts";
import * as k from "./constants.ts";
import { addressOf, bytes, c, room, scratch, str, strings } from "./ffi.ts";

/** pidfd_open(2). ESRCH when the process is gone. The caller closes it. */
export function pidfdOpen(pid: number): number {
  return sys("pidfd_open", `pid ${pid}`, pid, 0);
}

/** pidfd_getfd(2): a CLOEXEC duplicate of another process's descriptor. The caller closes it. */
export function pidfdGetfd(pidfd: number, fd: number): number {
  return sys("pidfd_getfd", `fd ${fd}`, pidfd, fd, 0);
}

/** pidfd_send_signal(2); false when the process is gone. */
export function pidfdSendSignal(pidfd: number, signal: number): boolean {
  const result = trySys("pidfd_send_signal", pidfd, signal, 0, 0);
  if (result === -3) return false;
  if (result < 0) throw new SysError("pidfd_send_signal", `signal ${signal}`, -result);
  return true;
}

/** Reaps a child of this process if it has ended: its wait status, or undefined while it runs or is not ours. */
export function reap(pid: number, options: number = k.WNOHANG): number | undefined {
  return scratch(() => {
    const status = room(8);
    return trySys("wait4", pid, status.address, options, 0) === pid ? status.view.readInt32LE(0) : undefined;
  });
}

const REAP_MS = 20;
const dying = new Set<number>();
let reaping: ReturnType<typeof setInterval> | undefined;

/** Reaps a child that has been killed, without waiting for the kernel to take it apart. */
export function reapLater(pid: number): void {
  dying.add(pid);
  reaping ??= setInterval(() => {
    for (const child of dying) {
      const result = trySys("wait4", child, 0, k.WNOHANG, 0);
      if (result !== 0) dying.delete(child);
    }
    if (dying.size > 0) return;
    clearInterval(reaping);
    reaping = undefined;
  }, REAP_MS);
  reaping.unref();
}

/** Both ends CLOEXEC; `flags` adds O_NONBLOCK to both. The caller closes them. */
export function pipe(flags = 0): [read: number, write: number] {
  return scratch(() => {
    const fds = room(8);
    sys("pipe2", "", fds.address, k.O_CLOEXEC | flags);
    return [fds.view.readInt32LE(0), fds.view.readInt32LE(4)];
  });
}

/** A CLOEXEC AF_UNIX socketpair of the given type. The caller closes both. */
export function socketpair(type: number): [number, number] {
  return scratch(() => {
    const fds = room(8);
    sys("socketpair", "", k.AF_UNIX, type | k.SOCK_CLOEXEC, 0, fds.address);
    return [fds.view.readInt32LE(0), fds.view.readInt32LE(4)];
  });
}

/** Sets or clears O_NONBLOCK on the open file description. */
export function setNonblock(fd: number, on: boolean): void {
  const flags = sys("fcntl", `fd ${fd}`, fd, k.F_GETFL, 0);
  sys("fcntl", `fd ${fd}`, fd, k.F_SETFL, on ? flags | k.O_NONBLOCK : flags & ~k.O_NONBLOCK);
}

/** setsid, close-on-exec and the rest of what a process inherits are settled by {@link spawn}: */
export interface SpawnOptions {
  /** Executable, by path. */
  path: string;
  argv: readonly string[];
  /** Which descriptor of ours becomes which of the child's; nothing else is passed on. */
  fds: readonly (readonly [ours: number, theirs: number])[];
}

const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;
const POSIX_SPAWN_SETSID = 0x80;

/**
 * posix_spawn(3) in a new session, with all signals blocked and at their default action (Bun ignores SIGPIPE and
 * SIGXFSZ, and a spawned process would inherit that). Returns the pid, which the caller reaps. All descriptors of
 * `fds` must be CLOEXEC, and those of ours at least {@link FIRST_FREE_FD}, so that no dup2 overwrites another's source.
 */
export function spawn(options: SpawnOptions): number {
  return scratch(() => {
    const actions = room(128).address;
    const attributes = room(512).address;
    const all = room(128);
    all.view.fill(0xff);
    const argv = strings(options.argv);
    const pid = room(8);
    const p = (address: number) => address as never;
    c.posix_spawn_file_actions_init(p(actions));
    c.posix_spawnattr_init(p(attributes));
    try {
      for (const [ours, theirs] of options.fds) c.posix_spawn_file_actions_adddup2(p(actions), ours, theirs);
      c.posix_spawnattr_setflags(p(attributes), POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
      c.posix_spawnattr_setsigmask(p(attributes), p(all.address));
      c.posix_spawnattr_setsigdefault(p(attributes), p(all.address));
      const errno = c.posix_spawn(
        p(pid.address),
        p(str(options.path)),
        p(actions),
        p(attributes),
        p(argv),
        p(room(8).address),
      );
      if (errno !== 0) throw new SysError("spawn", options.argv[0] ?? options.path, errno);
      return pid.view.readInt32LE(0);
    } finally {
      c.posix_spawn_file_actions_destroy(p(actions));
      c.posix_spawnattr_destroy(p(attributes));
    }
  });
}

export const FIRST_FREE_FD = 40;

/** Moves a descriptor of ours out of the range that {@link spawn} gives to children. */
export function raise(fd: number): number {
  if (fd >= FIRST_FREE_FD) return fd;
  const high = sys("fcntl", `fd ${fd}`, fd, k.F_DUPFD_CLOEXEC, FIRST_FREE_FD);
  trySys("close", fd);
  return high;
}

/** An executable memfd with this content, sealed against change (CVE-2019-5736: a container reaches it as /proc/1/exe). */
export function sealedExecutable(name: string, content: Uint8Array): number {
  return scratch(() => {
    const label = str(name);
    let fd = trySys("memfd_create", label, k.MFD_CLOEXEC | k.MFD_ALLOW_SEALING | k.MFD_EXEC);
    // MFD_EXEC is Linux 6.3.
    if (fd === -22) fd = trySys("memfd_create", label, k.MFD_CLOEXEC | k.MFD_ALLOW_SEALING);
    if (fd < 0) throw new SysError("memfd_create", name, -fd, fd === -13 ? "vm.memfd_noexec forbids it" : undefined);
    const address = addressOf(content);
    for (let done = 0; done < content.length; ) {
      done += sys("write", name, fd, address + done, content.length - done);
    }
    sys("fcntl", name, fd, k.F_ADD_SEALS, k.F_SEAL_SEAL | k.F_SEAL_SHRINK | k.F_SEAL_GROW | k.F_SEAL_WRITE);
    return raise(fd);
  });
}

/** A memory file with this content, open for reading and writing at its start. CLOEXEC; the caller closes it. */
export function memoryFile(name: string, content: Uint8Array): number {
  return scratch(() => {
    const fd = sys("memfd_create", name, str(name), k.MFD_CLOEXEC);
    const address = addressOf(content);
    for (let done = 0; done < content.length; ) {
      done += sys("pwrite64", name, fd, address + done, content.length - done, done);
    }
    return fd;
  });
}

/** Pids of a process's children. */
export function children(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1");
    return text.split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** ioctl(TIOCSWINSZ): the size of a terminal, in characters. */
export function setWindowSize(pty: number, rows: number, columns: number): void {
  scratch(() => sys("ioctl", `TIOCSWINSZ fd ${pty}`, pty, k.TIOCSWINSZ, bytes(windowSize(rows, columns))));
}

/** struct winsize. */
export function windowSize(rows: number, columns: number): Uint8Array {
  return new Uint8Array(new Uint16Array([rows, columns, 0, 0]).buffer);
}
