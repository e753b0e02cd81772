import { openSync, readdirSync, readFileSync, statSync } from "node:fs";
import { errnoName, unavailable } from "../../base/errors.ts";
import * as k from "../../linux/constants.ts";
import { close, read, writeAll } from "../../linux/file.ts";
import { pipe, raise, reap, sealedExecutable, spawn } from "../../linux/process.ts";
import { encode } from "../../program/elf.ts";
import { MACHINE } from "../../program/machine.ts";
import { Builder, FD } from "../../runtime/builder.ts";
import { writeIdMaps } from "../../runtime/id-maps.ts";
import { loopbackUp } from "../../runtime/namespaces.ts";
import { whyNoUserNamespace } from "../../runtime/userns-switches.ts";
import type { IdMapping } from "../../spec/oci-runtime.ts";

/** argv[0] of a holder; argv[1] is the run directory of the engine that it is for. */
export const HOLDER_ARGV0 = "inro-namespaces";

const GO = FD.free;
const READY = new Uint8Array(new Uint32Array([0xffff_ffff, 0]).buffer);
const SIGKILL = 9;

/**
 * Starts the process that holds a plain user's namespaces (user, mount, network), for his engine to be in, and for the next
 * one while containers run. It is 16 KB of memory and ends by SIGKILL. Returns its pid; it is our child.
 *
 *   us                          holder
 *    | spawn ------------------> | unshare(CLONE_NEWUSER)
 *    | <--- 8 bytes: it is there |
 *    | uid_map, gid_map          |
 *    | 1 byte -----------------> | becomes root of it, unshares the others
 *    | <-------------- 8 bytes - | waits
 */
export function startHolder(execRoot: string, uids: readonly IdMapping[], gids: readonly IdMapping[]): number {
  const [report, reportFar] = pipe();
  const [go, goFar] = pipe();
  const open = [report, goFar, raise(reportFar), raise(go)];
  let pid: number | undefined;
  try {
    const executable = sealedExecutable(HOLDER_ARGV0, encode(holderProgram(), MACHINE));
    open.push(executable);
    pid = spawn({
      path: `/proc/self/fd/${executable}`,
      argv: [HOLDER_ARGV0, execRoot],
      fds: [
        [open[2]!, FD.report],
        [open[3]!, GO],
      ],
    });
    for (const fd of open.splice(2)) close(fd);
    expectReady(report, "user namespace: unshare");
    writeIdMaps(pid, uids, gids);
    writeAll(goFar, new Uint8Array(1));
    expectReady(report, "mount and network namespaces: unshare");
    return pid;
  } catch (error) {
    if (pid !== undefined) {
      process.kill(pid, SIGKILL);
      reap(pid, 0);
    }
    throw error;
  } finally {
    for (const fd of open) close(fd);
  }
}

function expectReady(report: number, what: string): void {
  const record = Buffer.alloc(8);
  if (read(report, record) === 8 && READY.every((byte, i) => record[i] === byte)) return;
  const code = errnoName(record.readUInt32LE(4));
  throw unavailable(`rootless: ${what}: ${code}: ${whyNoUserNamespace(code)}`);
}

function holderProgram(): Builder {
  const p = new Builder();
  const ready = p.bytes(READY, "ready");
  p.call("holder", "prctl", [k.PR_SET_NAME, p.text(HOLDER_ARGV0), 0, 0, 0]);
  p.call("user namespace", "unshare", [k.CLONE_NEWUSER]);
  p.call("user namespace", "write", [FD.report, ready, 8]);
  p.call("until its maps are written", "read", [GO, p.room(8, "byte"), 1], { expect: 1 });
  p.call("root of the user namespace", "setresgid", [0, 0, 0]);
  p.call("root of the user namespace", "setresuid", [0, 0, 0]);
  // Its own user's programs must find it, and enter.
  p.call("root of the user namespace", "prctl", [k.PR_SET_DUMPABLE, 1, 0, 0, 0]);
  p.call("mounts and networks of its own", "unshare", [k.CLONE_NEWNS | k.CLONE_NEWNET]);
  loopbackUp(p);
  p.call("ready", "write", [FD.report, ready, 8]);
  p.call("lets go of all files", "close_range", [0, 0xffff_ffff, 0]);
  p.call("holds the namespaces", "ppoll", [0, 0, 0, 0, 0], { ignore: "all" });
  p.exit("no further", p.room(8, "0"));
  return p;
}

/** The holder of an engine with this run directory, if one lives. */
export function findHolder(execRoot: string): number | undefined {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).find((pid) => isHolder(pid, execRoot));
}

function isHolder(pid: number, execRoot: string): boolean {
  try {
    const [argv0, path] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    return argv0 === HOLDER_ARGV0 && path === execRoot && statSync(`/proc/${pid}`).uid === process.geteuid?.();
  } catch {
    // Gone.
    return false;
  }
}

export type Namespaces = Record<"user" | "net" | "mnt", number>;

/** The holder's namespaces, as CLOEXEC descriptors that the caller closes. They live for as long as one is open. */
export function openNamespaces(pid: number): Namespaces {
  const open = (name: string) => openSync(`/proc/${pid}/ns/${name}`, "r");
  return { user: open("user"), net: open("net"), mnt: open("mnt") };
}
