import { invalid } from "../base/errors.ts";
import type { Controller } from "./controller.ts";
import { CgroupDirectory } from "./directory.ts";
import { ancestors } from "./path.ts";

const CAUSES = {
  EINVAL: "no such processor or memory node here",
  ERANGE: "no such processor or memory node here",
  EACCES: "the cgroup above does not have these",
  EBUSY: "the processes or cgroups inside use others",
  ENOSPC: "it would be empty",
};

const write: NonNullable<Controller["v1"]> = (directory, { cpu = {} }) => {
  if (cpu.cpus) directory.write("cpuset.cpus", list("cpus", cpu.cpus), CAUSES);
  if (cpu.mems) directory.write("cpuset.mems", list("mems", cpu.mems), CAUSES);
};

/** Kernel: cgroup-v1/cpusets.rst, cgroup-v2.rst "Cpuset". Lists are like `0-3,8`. */
export const cpuset: Controller = {
  v1Name: "cpuset",
  v2Name: "cpuset",
  needed: ({ cpu = {} }) => Boolean(cpu.cpus) || Boolean(cpu.mems),
  v1: write,
  v2: write,
};

function list(what: string, text: string): string {
  if (
    text.length > 4096 ||
    !/^\d{1,6}(-\d{1,6})?(:\d{1,6}\/\d{1,6})?(,\d{1,6}(-\d{1,6})?(:\d{1,6}\/\d{1,6})?)*$/.test(text)
  ) {
    throw invalid(`invalid cpuset ${what} ${JSON.stringify(text.slice(0, 100))}: must be a list like 0-3,8`);
  }
  return text;
}

/**
 * A new v1 cpuset is empty: no process can join it, and none below it can be filled. Copies processors and nodes
 * downward from the mount's root into every empty cpuset up to and including `path`.
 */
export function inheritCpuset(mountpoint: string, path: string): void {
  const chain = ["", ...ancestors(path), path].map((part) => new CgroupDirectory(mountpoint + part));
  for (const file of ["cpuset.cpus", "cpuset.mems"]) {
    let above = "";
    for (const directory of chain) {
      let own = directory.read(file);
      if (own === "") {
        directory.write(file, above);
        own = above;
      }
      above = own;
    }
  }
}
