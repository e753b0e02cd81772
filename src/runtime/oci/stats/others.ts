import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import type { CgroupDirectory } from "../../../cgroups/directory.ts";
import { type Figure, MAX, number, sparse, table } from "./figures.ts";

/** The files have the same names in v1 and v2; without the controller, cgroup2 still lists the threads. */
export function pids(directory: CgroupDirectory | undefined, unified: CgroupDirectory | undefined): Figure {
  if (directory?.has("pids.current")) {
    const limit = number(directory, "pids.max");
    return sparse({ current: number(directory, "pids.current"), limit: limit === MAX ? 0n : limit });
  }
  return sparse({ current: unified?.tryRead("cgroup.threads")?.split("\n").filter(Boolean).length });
}

/** By page size. Reservations where the kernel accounts them, as it is they that a limit bounds. */
export function hugetlb(directory: CgroupDirectory | undefined, version: 1 | 2): Figure {
  const found: { [name: string]: Figure } = {};
  const usage = version === 1 ? "usage_in_bytes" : "current";
  for (const name of directory ? filesOf(directory.path) : []) {
    const size = new RegExp(`^hugetlb\\.(\\d+[KMG]B)\\.${usage}$`).exec(name)?.[1];
    if (!size) continue;
    const prefix = directory!.has(`hugetlb.${size}.rsvd.${usage}`) ? `hugetlb.${size}.rsvd` : `hugetlb.${size}`;
    found[size] =
      version === 1
        ? {
            ...sparse({
              usage: number(directory, `${prefix}.usage_in_bytes`),
              max: number(directory, `${prefix}.max_usage_in_bytes`),
            }),
            failcnt: number(directory, `${prefix}.failcnt`),
          }
        : {
            ...sparse({ usage: number(directory, `${prefix}.current`) }),
            failcnt: table(directory, `hugetlb.${size}.events`).max ?? 0n,
          };
  }
  return found;
}

function filesOf(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

const COLUMNS = "RxBytes RxPackets RxErrors RxDropped".split(" ");
const SENT = "TxBytes TxPackets TxErrors TxDropped".split(" ");

/** The interfaces of a process's network namespace but lo, by the text of its /proc/PID/net/dev; null where none. */
export function interfaces(text: string): Figure {
  const found: Figure[] = [];
  for (const line of text.split("\n").slice(2)) {
    const [name, rest] = line.split(/:\s*(.*)/);
    const counts = rest?.trim().split(/\s+/).map(BigInt);
    if (!name || !counts || counts.length < 16 || name.trim() === "lo") continue;
    const pick = (names: string[], from: number) => names.map((column, i) => [column, counts[from + i]!] as const);
    found.push({ Name: name.trim(), ...Object.fromEntries([...pick(COLUMNS, 0), ...pick(SENT, 8)]) });
  }
  return found.length > 0 ? found : null;
}

/** {@link interfaces} of a process that is not in our network namespace. */
export function networkOf(pid: number): Figure {
  try {
    if (readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync("/proc/self/ns/net")) return null;
    return interfaces(readFileSync(`/proc/${pid}/net/dev`, "utf8"));
  } catch {
    return null;
  }
}
