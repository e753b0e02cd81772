import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { detectHierarchy } from "../../../src/cgroups/hierarchy.ts";
import { eventually } from "../bundle.ts";

/** What this machine's kernel has. Each `no…` is undefined where the thing is there, else the reason of a skip. */

export const hierarchy = detectHierarchy();
export const v2 = hierarchy.mode === "v2";
export const noV2 = v2 ? undefined : "no cgroup v2 alone";
export const noV1 = v2 ? "no cgroup v1" : undefined;

/** The words of a file, none where it is missing. */
const words = (path: string) =>
  existsSync(path)
    ? readFileSync(path, "utf8")
        .trim()
        .split(/[\s,]+/)
    : [];

const lsm = words("/sys/kernel/security/lsm");
export const noAppArmor =
  lsm.includes("apparmor") || words("/sys/module/apparmor/parameters/enabled")[0] === "Y" ? undefined : "no AppArmor";
export const noSELinux = existsSync("/sys/fs/selinux/enforce") ? undefined : "no SELinux";
export const selinux = noSELinux === undefined ? "SELinux is there" : undefined;
export const noResctrl = existsSync("/sys/fs/resctrl/info") ? undefined : "no resctrl";
export const noCriu = !Bun.which("criu")
  ? "criu is not installed"
  : Bun.spawnSync(["criu", "check"]).success
    ? undefined
    : "criu check: this kernel is not one for it";
export const noNuma = existsSync("/proc/self/numa_maps") ? undefined : "the kernel has no NUMA policy";
export const noTimeNamespace = existsSync("/proc/self/ns/time") ? undefined : "no time namespaces";
const capabilities = BigInt(`0x${/CapEff:\s*(\w+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0"}`);
/** By number (capabilities(7)). */
const may = (capability: number) => ((capabilities >> BigInt(capability)) & 1n) === 1n;
export const noSysResource = may(24) ? undefined : "without CAP_SYS_RESOURCE";

/** A v1 controller's file, such as `memory/memory.limit_in_bytes`, or a v2 controller. */
export function noController(v1File: string, v2Controller: string): string | undefined {
  if (v2) return hierarchy.controllers.has(v2Controller) ? undefined : `no cgroup controller ${v2Controller}`;
  const [controller = "", file = ""] = v1File.split("/");
  const top = hierarchy.controllers.get(controller);
  if (top === undefined || top === hierarchy.unified) return `no cgroup v1 controller ${controller}`;
  // The one file of these that only groups below the top have.
  return file === "pids.max" || existsSync(join(top, file)) ? undefined : `the kernel has no ${file}`;
}

/** The cgroup of a process on the v1 hierarchy of `controller`, on v2 alone its only one. */
export function cgroupDirectory(pid: number | "self", controller: string): string {
  const lines = readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().split("\n");
  for (const line of lines) {
    const [, names = "", ...path] = line.split(":");
    const top = names === "" ? hierarchy.unified : hierarchy.controllers.get(controller);
    if (top && (v2 || names.split(",").includes(controller))) return join(top, path.join(":"));
  }
  throw new Error(`process ${pid} has no cgroup of ${controller}`);
}

const tops = [...new Set([...hierarchy.controllers.values(), ...(hierarchy.unified ? [hierarchy.unified] : [])])];

/** A cgroup of a container that is still there. */
export function cgroupLeft(id: string, parent: string): string | undefined {
  return tops
    .flatMap((top) => [parent, "", "/inro-runtime"].map((middle) => join(top, middle, id)))
    .find((path) => existsSync(path));
}

/**
 * Real-time for the containers below a cgroup: on v1 (with RT_GROUP_SCHED) each group must be given a share. Returns
 * the resources that a container has to ask for.
 */
export function allowRealtime(parent: string): object {
  const top = hierarchy.controllers.get("cpu");
  if (v2 || !top || !existsSync(join(top, "cpu.rt_runtime_us"))) return {};
  mkdirSync(join(top, parent), { recursive: true });
  writeFileSync(join(top, parent, "cpu.rt_runtime_us"), "500000");
  return { cpu: { realtimeRuntime: 10_000 } };
}

function directoriesIn(path: string): string[] {
  if (!existsSync(path)) return [];
  const entries = readdirSync(path, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(path, name));
}

/** Ends what still runs in the cgroups of that name, and removes them in all hierarchies. */
export async function removeCgroups(name: string): Promise<void> {
  // A frozen process does not even die.
  for (const top of tops) {
    for (const path of directoriesIn(join(top, name))) {
      const frozen = join(path, "freezer.state");
      if (existsSync(frozen)) writeFileSync(frozen, "THAWED");
    }
  }
  const remove = async (path: string) => {
    for (const below of directoriesIn(path)) await remove(below);
    await eventually(`${path} is empty`, () => {
      const pids = readFileSync(join(path, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number);
      for (const pid of pids) process.kill(pid, "SIGKILL");
      return pids.length === 0;
    });
    rmdirSync(path);
  };
  for (const top of tops) if (existsSync(join(top, name))) await remove(join(top, name));
}

/** A whole disk that is no loop device: cgroup limits can name it. */
export const firstDisk = (() => {
  for (const name of existsSync("/sys/class/block") ? readdirSync("/sys/class/block").sort() : []) {
    if (/^(vd|sd|nvme\d+n|loop)[a-z0-9]*$/.test(name) && !existsSync(`/sys/class/block/${name}/partition`)) {
      const [major, minor] = readFileSync(`/sys/class/block/${name}/dev`, "utf8").trim().split(":").map(Number);
      if (!name.startsWith("loop")) return { major: major!, minor: minor! };
    }
  }
  return undefined;
})();
