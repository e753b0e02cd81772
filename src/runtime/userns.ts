import { openSync } from "node:fs";
import { errnoName, invalid } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close, read } from "../linux/file.ts";
import { pipe, raise, reap, sealedExecutable, spawn } from "../linux/process.ts";
import { encode } from "../program/elf.ts";
import { Program } from "../program/ir.ts";
import { MACHINE } from "../program/machine.ts";
import type { IdMapping } from "../spec/oci-runtime.ts";
import { writeIdMaps } from "./id-maps.ts";
import { whyNoUserNamespace } from "./userns-switches.ts";

const REPORT = 3;
const HOLD = 4;

/**
 * A user namespace with these mappings, its maps written by {@link writeIdMaps}. The descriptor is CLOEXEC; the caller
 * closes it, and the namespace goes with its last user. Wrong mappings, or more than we may map, are an invalid-argument
 * error.
 *
 *   us                         member
 *    | spawn ------------------> | unshare(CLONE_NEWUSER)
 *    | <--- 8 bytes: it is there |
 *    | uid_map, gid_map          | waits
 *    | open its ns/user          |
 *    | end of file ------------> | ends
 */
export function createUserNamespace(uidMappings: readonly IdMapping[], gidMappings: readonly IdMapping[]): number {
  const [report, reportFar] = pipe();
  const [hold, holdFar] = pipe();
  const open = [report, raise(reportFar), raise(hold), holdFar];
  let pid: number | undefined;
  try {
    const executable = sealedExecutable("inro-userns", encode(memberProgram(), MACHINE));
    open.push(executable);
    pid = spawn({
      path: `/proc/self/fd/${executable}`,
      argv: ["inro-userns"],
      fds: [
        [open[1]!, REPORT],
        [open[2]!, HOLD],
      ],
    });
    close(open[1]!);
    open.splice(1, 1);
    const record = Buffer.alloc(8);
    if (read(report, record) !== 8 || record.readUInt32LE(0) !== READY) {
      const code = errnoName(record.readUInt32LE(4));
      throw invalid(`linux.namespaces user: unshare: ${code}: ${whyNoUserNamespace(code)}`);
    }
    writeIdMaps(pid, uidMappings, gidMappings);
    return openSync(`/proc/${pid}/ns/user`, "r");
  } finally {
    for (const fd of open) close(fd);
    if (pid !== undefined) reap(pid, 0);
  }
}

const READY = 0xffff_ffff;

function memberProgram(): Program {
  const p = new Program(REPORT);
  const why = "user namespace";
  const ready = new Uint8Array(new Uint32Array([READY, 0]).buffer);
  p.call(why, "unshare", [k.CLONE_NEWUSER]);
  p.call(why, "write", [REPORT, p.bytes(ready, "ready"), 8]);
  p.call(`${why}: until its maps are written`, "read", [HOLD, p.room(8, "byte"), 1], { ignore: "all" });
  p.exit(why, p.room(8, "0"));
  return p;
}
