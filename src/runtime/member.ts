import { errnoName } from "../base/errors.ts";
import { sys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import { close, read } from "../linux/file.ts";
import { FIRST_FREE_FD, pipe, raise, reap, sealedExecutable, spawn } from "../linux/process.ts";
import { encode } from "../program/elf.ts";
import { Program } from "../program/ir.ts";
import { MACHINE } from "../program/machine.ts";

const REPORT = 3;
const HOLD = 4;
/** The member's number of the descriptor that it is lent. */
export const LENT = 5;
/** From here on a member may have descriptors of its own. */
export const FREE = 6;
const READY = 0xffff_ffff;

/**
 * Runs a process of a few rows for as long as `body` looks at it: what only a process of some namespaces can make or see.
 *
 *   us                         member
 *    | spawn ------------------> | the rows
 *    | <--- 8 bytes: it is there |
 *    | body                      | waits
 *    | end of file ------------> | ends
 *
 * `lent`: a descriptor that stays the caller's. `failed` makes the error of a row's errno.
 */
export function withMember<T>(
  name: string,
  rows: (p: Program) => void,
  options: { lent?: number | undefined; failed(code: string): Error },
  body: (pid: number) => T,
): T {
  const { lent, failed } = options;
  const [report, reportFar] = pipe();
  const [hold, holdFar] = pipe();
  const open = [report, raise(reportFar), raise(hold), holdFar];
  let pid: number | undefined;
  try {
    const executable = sealedExecutable(name, encode(memberProgram(name, rows), MACHINE));
    open.push(executable);
    const fds: [ours: number, theirs: number][] = [
      [open[1]!, REPORT],
      [open[2]!, HOLD],
    ];
    if (lent !== undefined) {
      const again = sys("fcntl", name, lent, k.F_DUPFD_CLOEXEC, FIRST_FREE_FD);
      open.push(again);
      fds.push([again, LENT]);
    }
    pid = spawn({ path: `/proc/self/fd/${executable}`, argv: [name], fds });
    close(open[1]!);
    open.splice(1, 1);
    const record = Buffer.alloc(8);
    if (read(report, record) !== 8 || record.readUInt32LE(0) !== READY) {
      throw failed(errnoName(record.readUInt32LE(4)));
    }
    return body(pid);
  } finally {
    for (const fd of open) close(fd);
    if (pid !== undefined) reap(pid, 0);
  }
}

function memberProgram(why: string, rows: (p: Program) => void): Program {
  const p = new Program(REPORT);
  const ready = new Uint8Array(new Uint32Array([READY, 0]).buffer);
  rows(p);
  p.call(why, "write", [REPORT, p.bytes(ready, "ready"), 8]);
  p.call(`${why}: until it has been looked at`, "read", [HOLD, p.room(8, "byte"), 1], { ignore: "all" });
  p.exit(why, p.room(8, "0"));
  return p;
}
