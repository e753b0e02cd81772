import { readFileSync } from "node:fs";
import { cgroupOf, detectHierarchy, locate } from "../../src/cgroups/hierarchy.ts";

export const hierarchy = detectHierarchy();

/** Where a process is in the hierarchy of a v1 controller, or in cgroup2; by /proc/PID/cgroup, as other tools look. */
export function pathIn(pid: number, controller: string): string {
  const text = readFileSync(`/proc/${pid}/cgroup`, "utf8");
  const v1 = text.split("\n").find((line) => line.split(":")[1]?.split(",").includes(controller));
  return v1 ? v1.slice(v1.indexOf(":", v1.indexOf(":") + 1) + 1) : cgroupOf(text);
}

/** A file of the process's cgroup under its v1 and its v2 name, whichever version has the controller here. */
export function cgroupFile(pid: number, v1: string, v2: string): string {
  const name = (file: string) => file.split(".")[0]!;
  const found = locate(hierarchy, { v1: name(v1), v2: name(v2) })!;
  const file = found.version === 1 ? v1 : v2;
  return readFileSync(`${found.mountpoint}${pathIn(pid, name(file))}/${file}`, "utf8").trim();
}

/** Whether v1 has the controller. */
export const isV1 = (controller: string) => locate(hierarchy, { v1: controller })?.version === 1;
