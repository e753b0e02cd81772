import type { Cgroup } from "../../../cgroups/cgroup.ts";
import type { RdtGroup } from "../../../cgroups/resctrl.ts";
import { cpuset, cpuV1, cpuV2 } from "./cpu.ts";
import type { Figure } from "./figures.ts";
import { ioV1, ioV2 } from "./io.ts";
import { memoryV1, memoryV2 } from "./memory.ts";
import { hugetlb, networkOf, pids } from "./others.ts";
import { rdtFigures } from "./rdt.ts";

/** What runc's `events` prints of a container, from whichever hierarchy has it: the fields are runc's, zeros too. */
export function statsOf(cgroup: Cgroup, pid: number, rdt?: RdtGroup): Figure {
  const find = (v1: string, v2: string) => cgroup.directoryOf({ v1, v2 });
  const unified = cgroup.unifiedDirectory;
  const cpuacct = find("cpuacct", "cpuacct");
  const memory = find("memory", "memory");
  const io = find("blkio", "io");
  const set = find("cpuset", "cpuset");
  const huge = find("hugetlb", "hugetlb");
  return {
    cpu: cpuacct ? cpuV1(cpuacct.directory, find("cpu", "")?.directory, unified) : cpuV2(unified),
    cpuset: cpuset(set?.directory, set?.version ?? 2),
    memory: memory?.version === 2 ? memoryV2(unified) : memoryV1(memory?.directory, unified),
    pids: pids(find("pids", "pids")?.directory, unified),
    blkio: io?.version === 2 ? ioV2(unified) : ioV1(io?.directory, unified),
    hugetlb: hugetlb(huge?.directory, huge?.version ?? 2),
    intel_rdt: rdt ? rdtFigures(rdt) : {},
    network_interfaces: networkOf(pid),
  };
}
