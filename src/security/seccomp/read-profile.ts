import { invalid } from "../../base/errors.ts";
import { didYouMean, nearest } from "../../base/nearest.ts";
import type { SeccompAction, SeccompArg, SeccompOperator } from "../../spec/oci-runtime.ts";
import { CAPABILITIES } from "../capabilities.ts";
import { ACTIONS, returnValue } from "./actions.ts";

export interface KernelVersion {
  major: number;
  minor: number;
}

/** Empty lists and an absent version say nothing. */
export interface Condition {
  /** CAP_X. */
  caps: readonly string[];
  /** Docker's names: amd64, arm64, … */
  arches: readonly string[];
  minKernel?: KernelVersion;
}

export interface Rule {
  names: readonly string[];
  action: SeccompAction;
  errnoRet?: number;
  args: readonly SeccompArg[];
  includes: Condition;
  excludes: Condition;
}

/** A checked profile of any form. */
export interface Profile {
  /** Absent: the profile says nothing at all. */
  defaultAction?: SeccompAction;
  defaultErrnoRet?: number;
  architectures?: string[];
  archMap?: readonly { architecture: string; subArchitectures: readonly string[] }[];
  flags?: string[];
  listenerPath?: string;
  listenerMetadata?: string;
  rules: readonly Rule[];
}

const OPERATORS: readonly SeccompOperator[] = [
  "SCMP_CMP_NE",
  "SCMP_CMP_LT",
  "SCMP_CMP_LE",
  "SCMP_CMP_EQ",
  "SCMP_CMP_GE",
  "SCMP_CMP_GT",
  "SCMP_CMP_MASKED_EQ",
];
const ARCHES = `amd64 x86 x32 arm64 arm mips mips64 mips64n32 mipsel mipsel64 mipsel64n32 ppc ppc64 ppc64le s390 s390x
  riscv64 loongarch64 m68k parisc parisc64 sh sheb`.split(/\s+/);
const SCMP_ARCHES = `X86_64 X86 X32 AARCH64 ARM MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390
  S390X RISCV64 LOONGARCH64 M68K PARISC PARISC64 SH SHEB`
  .split(/\s+/)
  .map((name) => `SCMP_ARCH_${name}`);
const FLAGS = ["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"].map((name) => `SECCOMP_FILTER_FLAG_${name}`);

const PROFILE_KEYS =
  "defaultAction defaultErrnoRet architectures archMap flags listenerPath listenerMetadata syscalls".split(" ");
const RULE_KEYS = "names name action errnoRet args comment includes excludes".split(" ");

const MAX_RULES = 10_000;
const MAX_LIST = 4096;
const MAX_U64 = 2n ** 64n - 1n;

/** Checks a hostile value against every form a profile may have; see resolveProfile. */
export function readProfile(value: unknown): Profile {
  const o = object(value, "the profile", PROFILE_KEYS);
  const syscalls = list(o.syscalls, "syscalls", MAX_RULES);
  const defaultAction = o.defaultAction;
  if ((defaultAction === undefined || defaultAction === "") && syscalls.length === 0) return { rules: [] };

  const profile: Profile = {
    defaultAction: oneOf(defaultAction, ACTIONS, "defaultAction"),
    rules: syscalls.map((rule, i) => readRule(rule, `syscalls[${i}]`)),
  };
  if (given(o.defaultErrnoRet)) profile.defaultErrnoRet = uint(o.defaultErrnoRet, "defaultErrnoRet");
  returnValue(profile.defaultAction!, profile.defaultErrnoRet, "defaultErrnoRet");

  const architectures = names(o.architectures, SCMP_ARCHES, "architectures");
  const archMap = list(o.archMap, "archMap").map((entry, i) => {
    const at = `archMap[${i}]`;
    const e = object(entry, at, ["architecture", "subArchitectures"]);
    return {
      architecture: oneOf(e.architecture, SCMP_ARCHES, `${at}.architecture`),
      subArchitectures: names(e.subArchitectures, SCMP_ARCHES, `${at}.subArchitectures`),
    };
  });
  if (architectures.length > 0 && archMap.length > 0) fail("architectures", "cannot stand beside archMap");
  if (architectures.length > 0) profile.architectures = architectures;
  if (archMap.length > 0) profile.archMap = archMap;

  if (given(o.flags)) profile.flags = names(o.flags, FLAGS, "flags");
  // Go's encoders write unset strings as "".
  if (given(o.listenerPath) && o.listenerPath !== "") {
    profile.listenerPath = text(o.listenerPath, "listenerPath", 107);
    if (!/^\/[^\0]*$/.test(profile.listenerPath)) fail("listenerPath", "is not an absolute path");
  }
  if (given(o.listenerMetadata) && o.listenerMetadata !== "") {
    profile.listenerMetadata = text(o.listenerMetadata, "listenerMetadata", 65536);
    if (profile.listenerPath === undefined) fail("listenerMetadata", "needs a listenerPath");
  }
  return profile;
}

function readRule(value: unknown, at: string): Rule {
  const o = object(value, at, RULE_KEYS);
  const many = list(o.names, `${at}.names`).map((name, i) => syscallName(name, `${at}.names[${i}]`));
  const single = given(o.name) && o.name !== "" ? syscallName(o.name, `${at}.name`) : undefined;
  if (single !== undefined && many.length > 0) fail(`${at}.name`, "cannot stand beside names");
  if (single === undefined && many.length === 0) fail(at, "names no system call");
  const action = oneOf(o.action, ACTIONS, `${at}.action`);
  const rule: Rule = {
    names: single === undefined ? many : [single],
    action,
    args: list(o.args, `${at}.args`).map((arg, i) => readArg(arg, `${at}.args[${i}]`)),
    includes: readCondition(o.includes, `${at}.includes`),
    excludes: readCondition(o.excludes, `${at}.excludes`),
  };
  if (given(o.errnoRet)) rule.errnoRet = uint(o.errnoRet, `${at}.errnoRet`);
  returnValue(action, rule.errnoRet, `${at}.errnoRet`);
  return rule;
}

function readArg(value: unknown, at: string): SeccompArg {
  const o = object(value, at, ["index", "value", "valueTwo", "op"]);
  const index = uint(o.index ?? 0, `${at}.index`);
  if (index > 5) fail(`${at}.index`, `${index} is not a number from 0 to 5`);
  const arg: SeccompArg = {
    index,
    value: u64(o.value ?? 0, `${at}.value`),
    op: oneOf(o.op, OPERATORS, `${at}.op`),
  };
  if (given(o.valueTwo)) arg.valueTwo = u64(o.valueTwo, `${at}.valueTwo`);
  return arg;
}

function readCondition(value: unknown, at: string): Condition {
  if (!given(value)) return { caps: [], arches: [] };
  const o = object(value, at, ["caps", "arches", "minKernel"]);
  const caps = list(o.caps, `${at}.caps`).map((cap, i) => {
    const place = `${at}.caps[${i}]`;
    const upper = text(cap, place, 64).toUpperCase();
    const full = upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
    // A name near none that is known may be a newer kernel's: no container has it. A slip must not pass for one.
    if (!CAPABILITIES.includes(full) && nearest(full, CAPABILITIES)) oneOf(full, CAPABILITIES, place);
    return full;
  });
  const condition: Condition = { caps, arches: names(o.arches, ARCHES, `${at}.arches`) };
  if (given(o.minKernel) && o.minKernel !== "") {
    const version = text(o.minKernel, `${at}.minKernel`, 16);
    const [, major, minor] = /^(\d{1,5})\.(\d{1,5})$/.exec(version) ?? [];
    if (major === undefined || (Number(major) === 0 && Number(minor) === 0)) {
      fail(`${at}.minKernel`, `${quote(version)} is not a version of the form 4.8`);
    }
    condition.minKernel = { major: Number(major), minor: Number(minor) };
  }
  return condition;
}

function fail(at: string, what: string): never {
  throw invalid(`seccomp profile: ${at}: ${what}`);
}

function quote(value: unknown): string {
  const shown =
    typeof value === "string" ? JSON.stringify(value) : typeof value === "object" ? "an object" : String(value);
  return shown.length > 80 ? `${shown.slice(0, 80)}…` : shown;
}

const given = (value: unknown) => value !== undefined && value !== null;

/** Unknown keys are ignored as Docker does, except near misses of a known one: a misspelt `args` would widen a rule. */
function object(value: unknown, at: string, keys: readonly string[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) fail(at, "is not an object");
  for (const key of Object.keys(value)) {
    if (keys.includes(key)) continue;
    const near = nearest(key, keys);
    if (near !== undefined) fail(at, `unknown key ${quote(key)} (did you mean ${near}?)`);
  }
  return value as Record<string, unknown>;
}

function list(value: unknown, at: string, limit = MAX_LIST): unknown[] {
  if (!given(value)) return [];
  if (!Array.isArray(value)) fail(at, "is not a list");
  if (value.length > limit) fail(at, `has more than ${limit} entries`);
  return value;
}

function text(value: unknown, at: string, limit: number): string {
  if (typeof value !== "string") fail(at, `${quote(value)} is not a string`);
  if (value.length > limit) fail(at, `is longer than ${limit} characters`);
  return value;
}

function oneOf<T extends string>(value: unknown, known: readonly T[], at: string): T {
  if (!given(value) || value === "") fail(at, "is missing");
  if (!known.includes(value as T)) {
    fail(at, `unknown value ${quote(value)}${typeof value === "string" ? didYouMean(value, known) : ""}`);
  }
  return value as T;
}

function names(value: unknown, known: readonly string[], at: string): string[] {
  return list(value, at).map((name, i) => oneOf(name, known, `${at}[${i}]`));
}

function syscallName(value: unknown, at: string): string {
  const name = text(value, at, 64);
  if (!/^\w+$/.test(name)) fail(at, `${quote(name)} is not the name of a system call`);
  return name;
}

function uint(value: unknown, at: string): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > 0xffff_ffff) {
    fail(at, `${quote(value)} is not an unsigned 32-bit number`);
  }
  return value;
}

function u64(value: unknown, at: string): number | bigint {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  if (typeof value === "bigint" && value >= 0n && value <= MAX_U64) return value;
  const inexact = typeof value === "number" && value > Number.MAX_SAFE_INTEGER;
  fail(at, `${quote(value)} is not an unsigned 64-bit number${inexact ? ", or was not read exactly" : ""}`);
}
