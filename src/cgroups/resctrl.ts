import { existsSync, mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { dirname } from "node:path";
import { codeOf, conflict, invalid, SysError, unavailable } from "../base/errors.ts";
import type { IntelRdt } from "../spec/oci-runtime.ts";
import { CgroupDirectory, errnoOf } from "./directory.ts";
import { checkSchemata, schemataOf } from "./schemata.ts";

/** Where resctrl is mounted, by the text of /proc/self/mountinfo; an unavailable error where it is not. */
export function findResctrl(mountinfo = readFileSync("/proc/self/mountinfo", "utf8")): string {
  for (const line of mountinfo.split("\n")) {
    const [left = "", right = ""] = line.split(" - ");
    if (right.startsWith("resctrl ")) return left.split(" ")[4]!;
  }
  throw unavailable("linux.intelRdt: no resctrl file system is mounted (mount -t resctrl resctrl /sys/fs/resctrl)");
}

/** What was made for a container, and goes with it; absolute paths. */
export interface RdtGroup {
  group: string;
  /** The group is ours to remove: it was not there before, and nobody else knows its name. */
  owned: boolean;
  /** Its directory in the group's mon_groups. */
  monitor?: string;
}

/** Names in resctrl that are no groups. */
const RESERVED = new Set([".", "..", "info", "mon_groups", "mon_data"]);

/** Checks what can be checked without a machine that has it. */
export function checkIntelRdt({ closID }: IntelRdt): void {
  if (closID === undefined || closID === "/") return;
  if (closID === "" || closID.includes("/") || closID.length > 255 || RESERVED.has(closID)) {
    throw invalid(`linux.intelRdt.closID: ${JSON.stringify(closID)} is no name of a group`);
  }
}

/**
 * Puts processes into the group of `closID` (`/` is the root group), or of their own by the container's id, and writes
 * the schemata (config-linux.md, "IntelRdt"; kernel: filesystems/resctrl.rst). A named group that is there must have
 * these schemata already; one that is not there must get some. On failure what was made is gone again. Errors: invalid
 * (bad schemata, no such group), conflict (others are in force), SysError.
 */
export function joinRdt(root: string, config: IntelRdt, id: string, pids: readonly number[]): RdtGroup {
  checkIntelRdt(config);
  const schemata = schemataOf(config);
  const named = config.closID !== undefined;
  const path = config.closID === "/" ? root : `${root}/${config.closID ?? id}`;
  const directory = new CgroupDirectory(path);
  const there = existsSync(path);
  if (named && !there && schemata.length === 0) {
    throw invalid(`linux.intelRdt.closID: there is no group ${config.closID}, and no schema to make it with`);
  }
  const made: string[] = [];
  try {
    if (!there) make(path, made);
    if (named && there) checkSchemata(directory.read("schemata"), schemata);
    else write(directory, schemata);
    for (const pid of pids) directory.write("tasks", pid, CAUSES);
    const group: RdtGroup = { group: path, owned: !there && !named };
    if (config.enableMonitoring) {
      group.monitor = `${path}/mon_groups/${id}`;
      make(group.monitor, made);
      for (const pid of pids) new CgroupDirectory(group.monitor).write("tasks", pid, CAUSES);
    }
    return group;
  } catch (error) {
    for (const path of made.toReversed()) rmdir(path);
    throw error;
  }
}

/** Other schemata for the group that a container is in. */
export function updateRdt(path: string, config: IntelRdt): void {
  write(new CgroupDirectory(path), schemataOf(config));
}

/** Takes away what was made. What is gone is fine. */
export function leaveRdt({ group, owned, monitor }: RdtGroup): void {
  if (monitor !== undefined) rmdir(monitor);
  if (owned) rmdir(group);
}

const CAUSES = { ESRCH: "the process has ended", ENOSPC: "no hardware ids are left" };

/** All lines in one write, so that they take effect together. */
function write(directory: CgroupDirectory, schemata: readonly string[]): void {
  if (schemata.length === 0) return;
  try {
    directory.write("schemata", `${schemata.join("\n")}\n`);
  } catch (error) {
    // The kernel says more about it elsewhere.
    const status = new CgroupDirectory(dirname(directory.path)).tryRead("info/last_cmd_status");
    if (!status || status === "ok" || !(error instanceof SysError)) throw error;
    throw new SysError(error.operation, error.object, error.errno, status);
  }
}

function make(path: string, made: string[]): void {
  try {
    mkdirSync(path, 0o755);
  } catch (error) {
    if (codeOf(error) === "EEXIST") throw conflict(`linux.intelRdt: ${path} is there already`);
    throw new SysError("mkdir", path, errnoOf(error), "no hardware ids left, or this machine does not monitor");
  }
  made.push(path);
}

function rmdir(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw new SysError("rmdir", path, errnoOf(error));
  }
}
