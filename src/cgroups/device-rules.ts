import { invalid } from "../base/errors.ts";
import type { DeviceRule } from "../spec/oci-runtime.ts";

// linux/bpf.h: BPF_DEVCG_DEV_*, BPF_DEVCG_ACC_*.
export const DEV_BLOCK = 1;
export const DEV_CHAR = 2;
export const ACC_MKNOD = 1;
export const ACC_READ = 2;
export const ACC_WRITE = 4;
export const ACC_ALL = 7;

/** A checked rule. What is undefined matches any. `access` is a set of ACC_*. */
export interface Rule {
  allow: boolean;
  type: "b" | "c" | undefined;
  major: number | undefined;
  minor: number | undefined;
  access: number;
}

const LETTERS: Readonly<Record<string, number>> = { m: ACC_MKNOD, r: ACC_READ, w: ACC_WRITE };

/**
 * Checks OCI device rules (config-linux.md, "Allowed Device list"): type absent is `a`, number absent or -1 is any;
 * an absent access is `rwm` of a rule that denies; of one that allows, and when empty, an error. At most 4096 rules.
 */
export function parseDeviceRules(rules: readonly DeviceRule[]): Rule[] {
  if (rules.length > 4096) throw invalid(`${rules.length} device rules: at most 4096`);
  return rules.map((rule) => {
    const { allow, type = "a" } = rule;
    if (typeof allow !== "boolean") throw invalid("device rule without allow");
    // What is not said denies all, and allows nothing.
    const access = rule.access ?? (allow ? "" : "rwm");
    if (type !== "a" && type !== "b" && type !== "c") {
      throw invalid(`invalid device type ${JSON.stringify(String(type).slice(0, 20))}: must be a, b or c`);
    }
    if (!/^[rwm]{1,3}$/.test(access)) {
      throw invalid(`invalid device access ${JSON.stringify(String(access).slice(0, 20))}: must be one or more of rwm`);
    }
    let bits = 0;
    for (const letter of access) bits |= LETTERS[letter]!;
    return {
      allow,
      type: type === "a" ? undefined : type,
      major: number("major", rule.major, 4095),
      minor: number("minor", rule.minor, 1048575),
      access: bits,
    };
  });
}

function number(what: string, value: number | undefined, max: number): number | undefined {
  if (value === undefined || value === null || value === -1) return undefined;
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw invalid(
      `invalid device ${what} number ${String(value).slice(0, 40)}: must be from 0 to ${max}, or -1 for any`,
    );
  }
  return value;
}

/** Whether the rule matches every device. */
export const matchesAll = (rule: Rule) =>
  rule.type === undefined && rule.major === undefined && rule.minor === undefined;

/** `rwm` letters of a set of ACC_*. */
export function accessLetters(access: number): string {
  return (access & ACC_READ ? "r" : "") + (access & ACC_WRITE ? "w" : "") + (access & ACC_MKNOD ? "m" : "");
}
