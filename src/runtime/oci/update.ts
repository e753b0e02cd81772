import { readFileSync } from "node:fs";
import { parseBytes } from "../../base/bytes.ts";
import { conflict, invalid, messageOf } from "../../base/errors.ts";
import type { Cgroup } from "../../cgroups/cgroup.ts";
import type { IntelRdt, Resources } from "../../spec/oci-runtime.ts";
import { hasKernelMemory, noCgroup, openCgroup } from "./cgroup.ts";
import { resourcesSchema } from "./schema.ts";
import { type State, StateDirectory } from "./state.ts";

type Texts = ReadonlyMap<string, string>;

/**
 * Changes the limits of a container and keeps them, so that a later update knows those before it. What is not given, or
 * 0, stays; devices always do. Errors: conflict for a container that does not run, invalid for what is given; then, as
 * when the kernel refuses, the limits are as before.
 */
export async function updateContainer(
  root: string,
  id: string,
  texts: Texts,
  warn: (message: string) => void,
): Promise<void> {
  const directory = new StateDirectory(root, id);
  const state = directory.read();
  const status = directory.status(state);
  if (status === "stopped" || status === "creating") throw conflict("container not running");
  if (!state.cgroup) throw noCgroup("update", id);
  const cgroup = openCgroup(state.cgroup);
  if (!cgroup) throw conflict(`container ${id} has no cgroup ${state.cgroup}`);
  const file = texts.get("resources");
  const { devices: _, ...asked } = file === undefined ? ofFlags(texts) : readResources(file);
  if (hasKernelMemory(asked)) warn("kernel memory limits discarded: the kernel has none any more");
  const spec = directory.readConfig();
  const kept = spec.linux?.resources ?? {};
  const set = given(asked);
  // The limit of swap alone, which cgroup2 has, is what the sum leaves of it.
  if (set.memory?.swap && !set.memory.limit && kept.memory?.limit) set.memory.limit = kept.memory.limit;
  // First what is the rarer, and fails without a trace.
  const rdt = rdtChanges(texts);
  if (rdt) {
    const { changeRdt } = await import("./rdt.ts");
    const container = { id, group: state.rdt, config: spec.linux?.intelRdt, pids: cgroup.pids() };
    const { config, group } = changeRdt(rdt, container);
    spec.linux = { ...spec.linux, intelRdt: config };
    directory.write({ ...state, rdt: group });
  }
  await apply(state, cgroup, set, kept);
  spec.linux = { ...spec.linux, resources: merged(kept, set) };
  directory.writeConfig(spec);
}

/** systemd first: it rounds a quota, and what is then in the files counts. */
async function apply(state: State, cgroup: Cgroup, set: Resources, kept: Resources): Promise<void> {
  if (!state.systemd) {
    cgroup.update(set);
    return;
  }
  const { updateUnit } = await import("./systemd/driver.ts");
  const { quota, period } = merged(kept, set).cpu ?? {};
  // What systemd has is one ratio.
  const ratio = set.cpu?.quota || set.cpu?.period ? { ...(quota && { quota }), ...(period && { period }) } : {};
  updateUnit(state.systemd, { ...set, cpu: { ...set.cpu, ...ratio } });
  try {
    cgroup.update(set);
  } catch (error) {
    updateUnit(state.systemd, kept);
    throw error;
  }
}

/** These count beside `--resources` too. */
function rdtChanges(texts: Texts): IntelRdt | undefined {
  const [l3CacheSchema, memBwSchema] = [texts.get("l3-cache-schema"), texts.get("mem-bw-schema")];
  if (!l3CacheSchema && !memBwSchema) return undefined;
  return { ...(l3CacheSchema && { l3CacheSchema }), ...(memBwSchema && { memBwSchema }) };
}

function readResources(file: string): Resources {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file === "-" ? 0 : file, "utf8"));
  } catch (error) {
    throw invalid(`--resources ${file}: ${messageOf(error)}`);
  }
  resourcesSchema(value, "resources");
  return value as Resources;
}

/** What each flag sets: section and property of `linux.resources`, and how its text is read. */
const FLAGS: Readonly<Record<string, [keyof Resources, string, (text: string) => unknown]>> = {
  "blkio-weight": ["blockIO", "weight", integer],
  "cpu-period": ["cpu", "period", integer],
  "cpu-quota": ["cpu", "quota", integer],
  "cpu-burst": ["cpu", "burst", integer],
  "cpu-rt-period": ["cpu", "realtimePeriod", integer],
  "cpu-rt-runtime": ["cpu", "realtimeRuntime", integer],
  "cpu-share": ["cpu", "shares", integer],
  "cpu-idle": ["cpu", "idle", integer],
  "cpuset-cpus": ["cpu", "cpus", String],
  "cpuset-mems": ["cpu", "mems", String],
  memory: ["memory", "limit", size],
  "memory-reservation": ["memory", "reservation", size],
  "memory-swap": ["memory", "swap", size],
  "kernel-memory": ["memory", "kernel", size],
  "kernel-memory-tcp": ["memory", "kernelTCP", size],
  "pids-limit": ["pids", "limit", integer],
};

function ofFlags(texts: Texts): Resources {
  const resources: Record<string, Record<string, unknown>> = {};
  for (const [flag, text] of texts) {
    const [section, property, read] = FLAGS[flag] ?? [];
    if (!section || !property || !read || text === "") continue;
    try {
      resources[section] = { ...resources[section], [property]: read(text) };
    } catch (error) {
      throw invalid(`invalid value for ${flag}: ${messageOf(error)}`);
    }
  }
  resourcesSchema(resources, "resources");
  return resources as Resources;
}

function integer(text: string): number {
  if (!/^-?\d{1,15}$/.test(text)) throw new Error(`${JSON.stringify(text)} is no whole number`);
  return Number(text);
}

function size(text: string): number {
  return text === "-1" ? -1 : parseBytes(text);
}

/** For these 0 is a value. */
const ZERO = new Set(["idle", "burst", "swappiness"]);

/** Without what means "not set". */
function given(resources: Resources): Resources {
  const found: Record<string, unknown> = {};
  for (const [section, value] of Object.entries(resources)) {
    if (section !== "memory" && section !== "cpu" && section !== "blockIO") found[section] = value;
    else {
      const set = Object.entries(value ?? {}).filter(([name, v]) => (v !== 0 && v !== "") || ZERO.has(name));
      found[section] = Object.fromEntries(set);
    }
  }
  return found as Resources;
}

function merged(kept: Resources, set: Resources): Resources {
  const all: Record<string, unknown> = { ...kept };
  for (const [section, value] of Object.entries(set)) {
    all[section] = Array.isArray(value) ? value : { ...(all[section] as object | undefined), ...value };
  }
  return all as Resources;
}
