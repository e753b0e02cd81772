import type { CgroupDirectory } from "../../../cgroups/directory.ts";

/** What goes into runc's JSON: its integers are of 64 bits. */
export type Figure = bigint | number | string | Figure[] | { [name: string]: Figure | undefined } | null;

/** The largest unsigned number, which is how runc says "no limit" of cgroup2. */
export const MAX = 2n ** 64n - 1n;

/** A file of one number, `max` as {@link MAX}; 0 where it is not there. */
export function number(directory: CgroupDirectory | undefined, file: string): bigint {
  const text = directory?.tryRead(file);
  if (text === "max") return MAX;
  return text !== undefined && /^-?\d+$/.test(text) ? BigInt(text) : 0n;
}

/** A file of `name value` lines. */
export function table(directory: CgroupDirectory | undefined, file: string): Record<string, bigint> {
  const found: Record<string, bigint> = {};
  for (const line of directory?.tryRead(file)?.split("\n") ?? []) {
    const match = /^(\S+) (\d+)$/.exec(line);
    if (match) found[match[1]!] = BigInt(match[2]!);
  }
  return found;
}

/** Go's `omitempty`: what is zero or empty is left out. */
export function sparse(fields: Record<string, Figure | undefined>): { [name: string]: Figure } {
  const kept = Object.entries(fields).filter(([, v]) => {
    if (v === undefined || v === null || v === 0n || v === 0 || v === "") return false;
    return !(Array.isArray(v) && v.length === 0);
  });
  return Object.fromEntries(kept) as { [name: string]: Figure };
}

/** JSON.stringify for bigints too. */
export function encodeJson(value: Figure): string {
  if (typeof value === "bigint") return value.toString();
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(encodeJson).join(",")}]`;
  const fields = Object.entries(value).filter(([, v]) => v !== undefined);
  return `{${fields.map(([name, v]) => `${JSON.stringify(name)}:${encodeJson(v!)}`).join(",")}}`;
}

/** Pressure of one resource (kernel: accounting/psi.rst); undefined where the kernel does not account it. */
export function pressure(directory: CgroupDirectory | undefined, file: string): Figure | undefined {
  const found: { [name: string]: Figure } = {};
  for (const line of directory?.tryRead(file)?.split("\n") ?? []) {
    const match = /^(some|full) avg10=([\d.]+) avg60=([\d.]+) avg300=([\d.]+) total=(\d+)$/.exec(line);
    if (!match) continue;
    const [, kind = "", avg10, avg60, avg300, total = "0"] = match;
    found[kind] = { avg10: Number(avg10), avg60: Number(avg60), avg300: Number(avg300), total: BigInt(total) };
  }
  return Object.keys(found).length > 0 ? found : undefined;
}
