import { closeSync, constants, openSync } from "node:fs";
import { invalid } from "../base/errors.ts";
import { attachProgram, BPF_CGROUP_DEVICE, BPF_PROG_TYPE_CGROUP_DEVICE, loadProgram } from "../linux/bpf.ts";
import { close } from "../linux/file.ts";
import type { DeviceRule } from "../spec/oci-runtime.ts";
import { compileDeviceProgram } from "./device-program.ts";
import { ACC_ALL, accessLetters, matchesAll, parseDeviceRules, type Rule } from "./device-rules.ts";
import type { CgroupDirectory } from "./directory.ts";

/** Loaded programs by their code, least recently used first: most containers have the same rules. */
const programs = new Map<string, number>();
const MAX_PROGRAMS = 64;

/** Containers of one kind have one list of rules. */
const compiled = new WeakMap<readonly DeviceRule[], { code: Uint8Array; key: string }>();

function compile(rules: readonly DeviceRule[]): { code: Uint8Array; key: string } {
  const code = compileDeviceProgram(parseDeviceRules(rules));
  const program = { code, key: Buffer.from(code).toString("latin1") };
  compiled.set(rules, program);
  return program;
}

function program(rules: readonly DeviceRule[]): number {
  const { code, key } = compiled.get(rules) ?? compile(rules);
  let fd = programs.get(key);
  programs.delete(key);
  fd ??= loadProgram({
    type: BPF_PROG_TYPE_CGROUP_DEVICE,
    attachType: BPF_CGROUP_DEVICE,
    name: "inro_devices",
    code,
  });
  programs.set(key, fd);
  for (const [oldest, old] of programs) {
    if (programs.size <= MAX_PROGRAMS) break;
    // Attached programs live on without the descriptor.
    programs.delete(oldest);
    close(old);
  }
  return fd;
}

/** How many programs are held loaded; for tests. */
export const loadedPrograms = () => programs.size;

/**
 * Attaches the program of the rules (in order, the last match wins, else denied) to a cgroup2 directory. The kernel
 * detaches it with the directory.
 */
export function attachDevices(directory: string, rules: readonly DeviceRule[]): void {
  const programFd = program(rules);
  const cgroupFd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    attachProgram({ cgroupFd, cgroup: directory, programFd, attachType: BPF_CGROUP_DEVICE });
  } finally {
    closeSync(cgroupFd);
  }
}

/**
 * Writes the rules to a v1 cgroup's devices.allow and devices.deny (cgroup-v1/devices.rst), with the same meaning.
 * The kernel keeps one default and a list of exceptions; rules that this cannot express are an invalid-argument error,
 * as the kernel would take them without a word and not obey.
 */
export function writeDevices(directory: CgroupDirectory, rules: readonly DeviceRule[]): void {
  const { allowed, exceptions } = exceptionList(parseDeviceRules(rules));
  directory.write(allowed ? "devices.allow" : "devices.deny", "a", { EINVAL: "the cgroup has others inside" });
  for (const [device, access] of exceptions) {
    directory.write(allowed ? "devices.deny" : "devices.allow", `${device} ${accessLetters(access)}`, {
      EPERM: "the cgroup above does not allow this device",
    });
  }
}

/** The default and the exceptions, `c 1:3` to ACC_*, that mean the same as the rules. */
export function exceptionList(rules: readonly Rule[]): { allowed: boolean; exceptions: Map<string, number> } {
  let allowed = false;
  const exceptions = new Map<string, number>();
  for (const rule of rules) {
    if (matchesAll(rule) && rule.access === ACC_ALL) {
      allowed = rule.allow;
      exceptions.clear();
      continue;
    }
    for (const type of rule.type === undefined ? ["b", "c"] : [rule.type]) {
      const device = `${type} ${rule.major ?? "*"}:${rule.minor ?? "*"}`;
      if (rule.allow !== allowed) {
        exceptions.set(device, (exceptions.get(device) ?? 0) | rule.access);
        continue;
      }
      for (const [other, access] of exceptions) {
        if ((access & rule.access) === 0 || !overlap(device, other)) continue;
        if (!covers(device, other)) {
          throw invalid(
            `device rule ${rule.allow ? "allow" : "deny"} ${device} ${accessLetters(rule.access)} after ${other} ` +
              `${accessLetters(access)}: cgroup v1 cannot express an exception to an exception`,
          );
        }
        const left = access & ~rule.access;
        if (left === 0) exceptions.delete(other);
        else exceptions.set(other, left);
      }
    }
  }
  return { allowed, exceptions };
}

const parts = (device: string) => device.split(/[ :]/) as [string, string, string];

const overlap = (a: string, b: string) => {
  const other = parts(b);
  return parts(a).every((part, i) => part === other[i] || part === "*" || other[i] === "*");
};

const covers = (wide: string, narrow: string) => {
  const other = parts(narrow);
  return parts(wide).every((part, i) => part === other[i] || part === "*");
};
