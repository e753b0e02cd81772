import type { CgroupDirectory } from "../../../cgroups/directory.ts";
import { type Figure, number, pressure, sparse, table } from "./figures.ts";

type Directory = CgroupDirectory | undefined;

const TICK = 10_000_000n; // USER_HZ is 100

/** Nanoseconds. `unified` has the pressure, in hybrid mode too. */
export function cpuV1(cpuacct: Directory, cpu: Directory, unified: Directory): Figure {
  const ticks = table(cpuacct, "cpuacct.stat");
  const columns = (cpuacct?.tryRead("cpuacct.usage_all") ?? "")
    .split("\n")
    .slice(1)
    .map((line) => line.split(" ").slice(1).map(BigInt));
  const throttling = table(cpu, "cpu.stat");
  return withPressure(unified, {
    usage: {
      ...sparse({
        total: number(cpuacct, "cpuacct.usage"),
        percpu: (cpuacct?.tryRead("cpuacct.usage_percpu") ?? "").split(" ").filter(Boolean).map(BigInt),
        percpu_kernel: columns.map(([, system]) => system ?? 0n),
        percpu_user: columns.map(([user]) => user ?? 0n),
      }),
      kernel: cpuacct?.has("cpuacct.usage_sys") ? number(cpuacct, "cpuacct.usage_sys") : (ticks.system ?? 0n) * TICK,
      user: cpuacct?.has("cpuacct.usage_user") ? number(cpuacct, "cpuacct.usage_user") : (ticks.user ?? 0n) * TICK,
    },
    throttling: throttlingOf(throttling, throttling.throttled_time ?? 0n),
  });
}

/** cgroup2 accounts processor time even without the controller. */
export function cpuV2(unified: Directory): Figure {
  const stat = table(unified, "cpu.stat");
  const ns = (name: string) => (stat[name] ?? 0n) * 1000n;
  return withPressure(unified, {
    usage: { ...sparse({ total: ns("usage_usec") }), kernel: ns("system_usec"), user: ns("user_usec") },
    throttling: throttlingOf(stat, ns("throttled_usec")),
  });
}

function throttlingOf(stat: Record<string, bigint>, time: bigint): Figure {
  return sparse({ periods: stat.nr_periods, throttledPeriods: stat.nr_throttled, throttledTime: time });
}

function withPressure(unified: Directory, figures: { [name: string]: Figure }): Figure {
  return { ...figures, psi: pressure(unified, "cpu.pressure") };
}

const FLAGS = {
  cpu_exclusive: "cpuset.cpu_exclusive",
  mem_hardwall: "cpuset.mem_hardwall",
  mem_exclusive: "cpuset.mem_exclusive",
  memory_migrate: "cpuset.memory_migrate",
  memory_spread_page: "cpuset.memory_spread_page",
  memory_spread_slab: "cpuset.memory_spread_slab",
  memory_pressure: "cpuset.memory_pressure",
  sched_load_balance: "cpuset.sched_load_balance",
  sched_relax_domain_level: "cpuset.sched_relax_domain_level",
} as const;

/** The flags are those of v1; in v2 they are 0. */
export function cpuset(directory: Directory, version: 1 | 2): Figure {
  const list = (file: string) => ranges(directory?.tryRead(file) ?? "");
  const suffix = version === 1 ? "" : ".effective";
  const flags = Object.entries(FLAGS).map(([name, file]) => [name, number(directory, file)]);
  const { cpu_exclusive, ...others } = Object.fromEntries(flags) as Record<string, bigint>;
  return {
    ...sparse({ cpus: list(`cpuset.cpus${suffix}`) }),
    cpu_exclusive,
    ...sparse({ mems: list(`cpuset.mems${suffix}`) }),
    ...others,
  };
}

/** `0-2,5` as its numbers. */
export function ranges(text: string): number[] {
  return text
    .split(",")
    .filter(Boolean)
    .flatMap((part) => {
      const [first = 0, last = first] = part.split("-").map(Number);
      return Array.from({ length: last - first + 1 }, (_, i) => first + i);
    });
}
