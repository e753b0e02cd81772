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
const JOINED = 5;

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
  return withMember(undefined, (pid) => {
    writeIdMaps(pid, uidMappings, gidMappings);
    return openSync(`/proc/${pid}/ns/user`, "r");
  });
}

/** As {@link createUserNamespace}, with a network namespace that belongs to it: whoever is root in it, rules over that. */
export function createUserAndNetworkNamespace(
  uidMappings: readonly IdMapping[],
  gidMappings: readonly IdMapping[],
): { user: number; network: number } {
  return withMember(
    undefined,
    (pid) => {
      writeIdMaps(pid, uidMappings, gidMappings);
      const user = openSync(`/proc/${pid}/ns/user`, "r");
      try {
        return { user, network: openSync(`/proc/${pid}/ns/net`, "r") };
      } catch (error) {
        close(user);
        throw error;
      }
    },
    k.CLONE_NEWUSER | k.CLONE_NEWNET,
  );
}

/** What `look` says of a process in the user namespace that `fd` is open on, which lives for as long as it runs. */
export function inUserNamespaceOf<T>(fd: number, look: (pid: number) => T): T {
  return withMember(fd, look);
}

function withMember<T>(joined: number | undefined, body: (pid: number) => T, flags: number = k.CLONE_NEWUSER): T {
  const [report, reportFar] = pipe();
  const [hold, holdFar] = pipe();
  const open = [report, raise(reportFar), raise(hold), holdFar];
  let pid: number | undefined;
  try {
    const executable = sealedExecutable("inro-userns", encode(memberProgram(joined !== undefined, flags), MACHINE));
    open.push(executable);
    pid = spawn({
      path: `/proc/self/fd/${executable}`,
      argv: ["inro-userns"],
      fds: [[open[1]!, REPORT], [open[2]!, HOLD], ...(joined === undefined ? [] : [[joined, JOINED] as const])],
    });
    close(open[1]!);
    open.splice(1, 1);
    const record = Buffer.alloc(8);
    if (read(report, record) !== 8 || record.readUInt32LE(0) !== READY) {
      const code = errnoName(record.readUInt32LE(4));
      throw invalid(
        `linux.namespaces user: ${joined === undefined ? "unshare" : "setns"}: ${code}: ${whyNoUserNamespace(code)}`,
      );
    }
    return body(pid);
  } finally {
    for (const fd of open) close(fd);
    if (pid !== undefined) reap(pid, 0);
  }
}

const READY = 0xffff_ffff;

function memberProgram(joins: boolean, flags: number): Program {
  const p = new Program(REPORT);
  const why = "user namespace";
  const ready = new Uint8Array(new Uint32Array([READY, 0]).buffer);
  if (joins) p.call(why, "setns", [JOINED, k.CLONE_NEWUSER]);
  else p.call(why, "unshare", [flags]);
  p.call(why, "write", [REPORT, p.bytes(ready, "ready"), 8]);
  p.call(`${why}: until its maps are written`, "read", [HOLD, p.room(8, "byte"), 1], { ignore: "all" });
  p.exit(why, p.room(8, "0"));
  return p;
}
