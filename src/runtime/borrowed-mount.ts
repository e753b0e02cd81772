import { errnoName, unavailable } from "../base/errors.ts";
import { sys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import { close, read } from "../linux/file.ts";
import { FIRST_FREE_FD, pidfdGetfd, pidfdOpen, pipe, raise, reap, sealedExecutable, spawn } from "../linux/process.ts";
import { encode } from "../program/elf.ts";
import { Program } from "../program/ir.ts";
import { MACHINE } from "../program/machine.ts";

const REPORT = 3;
const HOLD = 4;
const NAMESPACE = 5;
/** Where the member has what is taken of it. */
const FOUND = 6;
const READY = 0xffff_ffff;

/**
 * A second mount of what another mount namespace has at `path`, attached nowhere: only a process in there may make one
 * (open_tree(2)), so one goes in. `path` is a directory, and no part of it a symlink, for the tree is a stranger's. The
 * descriptor is CLOEXEC and the caller's to close; unavailable where it cannot be had.
 *
 *   us                         member
 *    | spawn ------------------> | setns, openat2, open_tree
 *    | <--- 8 bytes: it is there |
 *    | pidfd_getfd               | waits
 *    | end of file ------------> | ends
 */
export function borrowMount(namespace: number, path: string): number {
  const [report, reportFar] = pipe();
  const [hold, holdFar] = pipe();
  const open = [report, raise(reportFar), raise(hold), holdFar];
  let pid: number | undefined;
  let pidfd: number | undefined;
  try {
    const executable = sealedExecutable("inro-borrow", encode(memberProgram(path), MACHINE));
    open.push(executable);
    const lent = sys("fcntl", "mount namespace", namespace, k.F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    open.push(lent);
    pid = spawn({
      path: `/proc/self/fd/${executable}`,
      argv: ["inro-borrow"],
      fds: [
        [open[1]!, REPORT],
        [open[2]!, HOLD],
        [lent, NAMESPACE],
      ],
    });
    close(open[1]!);
    open.splice(1, 1);
    const record = Buffer.alloc(8);
    if (read(report, record) !== 8 || record.readUInt32LE(0) !== READY) {
      throw unavailable(`a second mount of ${path}: ${errnoName(record.readUInt32LE(4))}`);
    }
    pidfd = pidfdOpen(pid);
    return pidfdGetfd(pidfd, FOUND);
  } finally {
    if (pidfd !== undefined) close(pidfd);
    for (const fd of open) close(fd);
    if (pid !== undefined) reap(pid, 0);
  }
}

function memberProgram(path: string): Program {
  const p = new Program(REPORT);
  const why = `a second mount of ${path}`;
  const how = new Uint8Array(
    new BigUint64Array([BigInt(k.O_PATH | k.O_DIRECTORY | k.O_CLOEXEC), 0n, BigInt(k.RESOLVE_NO_SYMLINKS)]).buffer,
  );
  p.call(why, "setns", [NAMESPACE, k.CLONE_NEWNS]);
  const place = p.result(why, "place", "openat2", [k.AT_FDCWD, p.text(path), p.bytes(how, "no symlinks"), how.length]);
  const flags = k.OPEN_TREE_CLONE | k.OPEN_TREE_CLOEXEC | k.AT_EMPTY_PATH;
  const mount = p.result(why, "mount", "open_tree", [place, p.text(""), flags]);
  p.call(why, "dup3", [mount, FOUND, k.O_CLOEXEC]);
  p.call(why, "write", [REPORT, p.bytes(new Uint8Array(new Uint32Array([READY, 0]).buffer), "ready"), 8]);
  p.call(`${why}: until it is taken`, "read", [HOLD, p.room(8, "byte"), 1], { ignore: "all" });
  p.exit(why, p.room(8, "0"));
  return p;
}
