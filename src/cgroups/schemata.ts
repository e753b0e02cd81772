import { conflict, invalid } from "../base/errors.ts";
import type { IntelRdt } from "../spec/oci-runtime.ts";

/**
 * The lines to write, in order: the cache's, the memory bandwidth's, then `schemata`. Where memBwSchema is given, lines
 * `MB:` of l3CacheSchema do not count (config-linux.md, "IntelRdt"). A line that is none is an invalid-argument error.
 */
export function schemataOf({ l3CacheSchema, memBwSchema, schemata = [] }: IntelRdt): string[] {
  const lines = (text: string | undefined) => (text ?? "").split("\n").filter((line) => line.trim() !== "");
  const cache = lines(l3CacheSchema).filter((line) => !memBwSchema || !line.trim().startsWith("MB:"));
  const all = [...cache, ...lines(memBwSchema), ...schemata.flatMap(lines)].map((line) => line.trim());
  for (const line of all) parse(line);
  return all;
}

/** Resource and values by domain of `L3:0=f0;1=ff`. */
function parse(line: string): { resource: string; domains: Map<string, string> } {
  const shown = JSON.stringify(line.slice(0, 100));
  const match = /^([A-Z0-9_]+):(.+)$/.exec(line);
  if (!match || line.length > 4096) throw invalid(`linux.intelRdt: ${shown} is no line of schemata, such as L3:0=f`);
  const domains = new Map<string, string>();
  for (const part of match[2]!.split(";")) {
    const [, domain, value] = /^\s*(\d+)\s*=\s*(\S+)\s*$/.exec(part) ?? [];
    if (domain === undefined || value === undefined)
      throw invalid(`linux.intelRdt: ${shown}: ${part} is no domain=value`);
    // As the kernel prints them: masks without leading zeros.
    domains.set(String(Number(domain)), value.toLowerCase().replace(/^(0x)?0*(?=.)/, ""));
  }
  return { resource: match[1]!, domains };
}

/** A conflict error if what is in force, the text of a group's schemata file, differs from a line that is wanted. */
export function checkSchemata(present: string, wanted: readonly string[]): void {
  const inForce = new Map<string, Map<string, string>>();
  for (const line of present.split("\n")) {
    if (line.trim() === "") continue;
    const { resource, domains } = parse(line.trim());
    inForce.set(resource, domains);
  }
  for (const line of wanted) {
    const { resource, domains } = parse(line);
    for (const [domain, value] of domains) {
      const other = inForce.get(resource)?.get(domain);
      if (other === value) continue;
      const has = other === undefined ? "none" : `${resource}:${domain}=${other}`;
      throw conflict(`linux.intelRdt: the group has ${has}, and the config wants ${line}`);
    }
  }
}
