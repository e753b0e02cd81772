import { existsSync, readdirSync } from "node:fs";
import { dirname } from "node:path";
import { CgroupDirectory } from "../../../cgroups/directory.ts";
import type { RdtGroup } from "../../../cgroups/resctrl.ts";
import { type Figure, number, sparse } from "./figures.ts";

/** Cache and memory bandwidth of the container's resctrl group (kernel: filesystems/resctrl.rst). */
export function rdtFigures({ group, monitor }: RdtGroup): Figure {
  const root = existsSync(`${group}/info`) ? group : dirname(group);
  const info = (path: string, fields: Record<string, string>): Figure | undefined => {
    const directory = new CgroupDirectory(`${root}/info/${path}`);
    if (!existsSync(directory.path)) return undefined;
    const values = Object.entries(fields).map(([name, kind]) => [
      name,
      kind === "text" ? directory.tryRead(name) : number(directory, name),
    ]);
    return sparse(Object.fromEntries(values));
  };
  const line = (directory: string, resource: string) =>
    new CgroupDirectory(directory)
      .tryRead("schemata")
      ?.split("\n")
      .map((text) => text.trim())
      .find((text) => text.startsWith(`${resource}:`));
  const nodes = monitorNodes(monitor ?? group);
  return sparse({
    l3_cache_info: info("L3", { cbm_mask: "text", min_cbm_bits: "number", num_closids: "number" }),
    l3_cache_schema_root: line(root, "L3"),
    l3_cache_schema: line(group, "L3"),
    mem_bw_info: info("MB", {
      bandwidth_gran: "number",
      delay_linear: "number",
      min_bandwidth: "number",
      num_closids: "number",
    }),
    mem_bw_schema_root: line(root, "MB"),
    mem_bw_schema: line(group, "MB"),
    mbm_stats: nodes
      .filter((node) => node.has("mbm_total_bytes"))
      .map((node) =>
        sparse({
          mbm_total_bytes: number(node, "mbm_total_bytes"),
          mbm_local_bytes: number(node, "mbm_local_bytes"),
        }),
      ),
    cmt_stats: nodes
      .filter((node) => node.has("llc_occupancy"))
      .map((node) => sparse({ llc_occupancy: number(node, "llc_occupancy") })),
  });
}

/** By memory node. */
function monitorNodes(group: string): CgroupDirectory[] {
  try {
    const names = readdirSync(`${group}/mon_data`).filter((name) => name.startsWith("mon_L3_"));
    return names.sort().map((name) => new CgroupDirectory(`${group}/mon_data/${name}`));
  } catch {
    return [];
  }
}
