import { invalid } from "../../../base/errors.ts";
import { weightOfShares } from "../../../cgroups/cpu.ts";
import { swapAlone } from "../../../cgroups/memory.ts";
import { parseGvariant } from "../../../dbus/gvariant.ts";
import type { Property } from "../../../dbus/systemd.ts";
import type { Resources } from "../../../spec/oci-runtime.ts";
import type { Unit } from "./names.ts";

const INFINITY = 2n ** 64n - 1n;

const u64 = (name: string, value: number | bigint): Property => [
  name,
  { signature: "t", value: value < 0 ? INFINITY : BigInt(value) },
];
const bool = (name: string, value: boolean): Property => [name, { signature: "b", value }];
const text = (name: string, value: string): Property => [name, { signature: "s", value }];

/** Of a new unit, which begins with the process `pid`. */
export function unitProperties(unit: Unit, id: string, pid: number, version: 1 | 2): Property[] {
  const slice = unit.name.endsWith(".slice");
  return [
    text("Description", `inro container ${id}`),
    ...(slice
      ? [["Wants", { signature: "as", value: [unit.slice] }] as Property]
      : [text("Slice", unit.slice), bool("Delegate", true), ["PIDs", { signature: "au", value: [pid] }] as Property]),
    ...["Memory", "CPU", version === 2 ? "IO" : "BlockIO", "Tasks"].map((what) => bool(`${what}Accounting`, true)),
    bool("DefaultDependencies", false),
  ];
}

const PREFIX = "org.systemd.property.";

/** `org.systemd.property.NAME`: a value in GVariant's text format. A time in seconds (`Sec`) becomes microseconds. */
export function annotatedProperties(annotations: Readonly<Record<string, string>>): Property[] {
  const found: Property[] = [];
  for (const [key, value] of Object.entries(annotations)) {
    if (!key.startsWith(PREFIX)) continue;
    const name = key.slice(PREFIX.length);
    if (!/^[A-Za-z]{3,}$/.test(name)) throw invalid(`config.json: annotations: ${key}: invalid property name`);
    const variant = parseGvariant(value);
    if (!/[^U]Sec$/.test(name)) {
      found.push([name, variant]);
      continue;
    }
    if (typeof variant.value !== "number" && typeof variant.value !== "bigint") {
      throw invalid(`config.json: annotations: ${key}: ${value} is no number of seconds`);
    }
    const micro = typeof variant.value === "bigint" ? variant.value * 1_000_000n : Math.round(variant.value * 1e6);
    found.push(u64(name.replace(/Sec$/, "USec"), micro));
  }
  return found;
}

/** Limits as properties (systemd.resource-control(5)), so that systemd does not undo what is written to the files. */
export function resourceProperties(resources: Resources, cgroup: 1 | 2, systemd: number): Property[] {
  const { memory: m = {}, cpu: c = {}, pids, blockIO, unified = {} } = resources;
  const found: Property[] = [];
  if (m.limit) found.push(u64(cgroup === 2 ? "MemoryMax" : "MemoryLimit", m.limit));
  if (cgroup === 2) {
    if (m.reservation) found.push(u64("MemoryLow", m.reservation));
    const swap = m.swap || (m.limit === -1 ? -1 : undefined);
    if (swap !== undefined) {
      const value = swapAlone(swap, m.limit || undefined);
      found.push(u64("MemorySwapMax", value === "max" ? -1 : BigInt(value)));
    }
    // A weight of 0 is systemd's word for idle.
    if (c.idle === 1 && systemd >= 252) found.push(u64("CPUWeight", 0));
    else if (c.shares) found.push(u64("CPUWeight", weightOfShares(c.shares)));
  } else {
    if (c.shares) found.push(u64("CPUShares", c.shares));
    if (blockIO?.weight) found.push(u64("BlockIOWeight", blockIO.weight));
  }
  found.push(...quota(c.quota ?? 0, c.period ?? 0, systemd));
  if (pids?.limit !== undefined) found.push(u64("TasksMax", pids.limit === 0 ? 1 : pids.limit));
  if (systemd >= 244) {
    if (c.cpus) found.push(["AllowedCPUs", { signature: "ay", value: bits(c.cpus) }]);
    if (c.mems) found.push(["AllowedMemoryNodes", { signature: "ay", value: bits(c.mems) }]);
  }
  return [...found, ...unifiedProperties(unified, systemd)];
}

/** systemd has the quota as time per second, and in whole percents: rounded up, or it would be less than the file's. */
function quota(value: number, period: number, systemd: number): Property[] {
  if (value === 0 && period === 0) return [];
  const found = period !== 0 && systemd >= 242 ? [u64("CPUQuotaPeriodUSec", period)] : [];
  const perSecond = value > 0 ? Math.ceil(Math.floor((value * 1e6) / (period || 100_000)) / 10_000) * 10_000 : -1;
  return [...found, u64("CPUQuotaPerSecUSec", perSecond)];
}

const SIZES: Readonly<Record<string, string>> = {
  "memory.high": "MemoryHigh",
  "memory.low": "MemoryLow",
  "memory.min": "MemoryMin",
  "memory.max": "MemoryMax",
  "memory.swap.max": "MemorySwapMax",
  "pids.max": "TasksMax",
};

/** Those files that systemd has a word for; the others are written only. */
function unifiedProperties(unified: Readonly<Record<string, string>>, systemd: number): Property[] {
  const found: Property[] = [];
  const number = (file: string, value: string) => {
    if (!/^\d{1,19}$/.test(value))
      throw invalid(`config.json: linux.resources.unified: ${file}: ${value} is no number`);
    return BigInt(value);
  };
  for (const [file, given] of Object.entries(unified)) {
    const value = given.trim();
    const size = SIZES[file];
    if (size) found.push(u64(size, value === "max" ? -1 : number(file, value)));
    else if (file === "cpu.weight") found.push(u64("CPUWeight", number(file, value)));
    else if (file === "cpu.max") {
      const [time = "", period = "100000"] = value.split(/\s+/);
      found.push(...quota(time === "max" ? -1 : Number(number(file, time)), Number(number(file, period)), systemd));
    } else if (file === "cpuset.cpus" && systemd >= 244)
      found.push(["AllowedCPUs", { signature: "ay", value: bits(value) }]);
    else if (file === "cpuset.mems" && systemd >= 244)
      found.push(["AllowedMemoryNodes", { signature: "ay", value: bits(value) }]);
    else if (file === "memory.oom.group") found.push(text("OOMPolicy", value === "1" ? "kill" : "continue"));
  }
  return found;
}

const MAX_BIT = 8191;

/** `0-3,8` as a bit set, lowest first. */
export function bits(list: string): number[] {
  const set: number[] = [];
  for (const part of list.split(",")) {
    const [, first, last = first] = /^\s*(\d{1,4})(?:-(\d{1,4}))?\s*$/.exec(part) ?? [];
    if (first === undefined || Number(last) < Number(first) || Number(last) > MAX_BIT) {
      throw invalid(`${JSON.stringify(list.slice(0, 100))} is no list like 0-3,8`);
    }
    for (let i = Number(first); i <= Number(last); i++) set[i >> 3] = (set[i >> 3] ?? 0) | (1 << (i & 7));
  }
  return Array.from(set, (byte) => byte ?? 0);
}
