import { invalid, messageOf } from "../../base/errors.ts";
import type { Abi } from "../../linux/syscall-numbers.ts";
import type { Seccomp } from "../../spec/oci-runtime.ts";
import { DEFAULT_PROFILE } from "./default.ts";
import { type Condition, type KernelVersion, type Profile, readProfile } from "./read-profile.ts";

/** What the conditions of a profile are compared with: the container's bounding set (CAP_X), the machine, its kernel. */
export interface Context {
  caps: readonly string[];
  abi: Abi;
  kernel: KernelVersion;
}

const MAX_TEXT = 1 << 20;

/**
 * JSON text of a profile → its value for {@link resolveProfile}, numbers beyond 2^53 as bigint. Text over 1 MiB or not
 * JSON is an invalid-argument error.
 */
export function parseProfile(text: string): unknown {
  if (text.length > MAX_TEXT) throw invalid(`seccomp profile: over ${MAX_TEXT} bytes`);
  const exact = (_: string, value: unknown, context?: { source?: string }) =>
    typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "")
      ? BigInt(context!.source!)
      : value;
  try {
    return JSON.parse(text, exact);
  } catch (error) {
    throw invalid(`seccomp profile: not valid JSON: ${messageOf(error)}`, error);
  }
}

/**
 * Resolves a profile (Docker's form with conditions, its older form with one `name` per rule, or the OCI form) to the
 * OCI form: conditions decided, archMap expanded. Undefined for one that says nothing (no default action, no rules),
 * which means no seccomp. `profile` is hostile; what is wrong with it is an invalid-argument error naming the place.
 */
export function resolveProfile(profile: unknown, context: Context): Seccomp | undefined {
  return resolve(readProfile(profile), context);
}

/** The default profile for a container with these capabilities. */
export function defaultProfile(context: Context): Seccomp {
  return resolve(DEFAULT_PROFILE, context)!;
}

/** major and minor of a kernel release such as `6.18.44-generic`. */
export function kernelVersion(release: string): KernelVersion {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  if (major === undefined) throw invalid(`unknown kernel release ${JSON.stringify(release)}`);
  return { major: Number(major), minor: Number(minor) };
}

function resolve(profile: Profile, context: Context): Seccomp | undefined {
  if (profile.defaultAction === undefined) return undefined;
  const { archMap, rules, defaultAction, ...rest } = profile;
  const map = archMap?.find((entry) => entry.architecture === SCMP_ARCH[context.abi]);
  const architectures = map ? [map.architecture, ...map.subArchitectures] : profile.architectures;
  return {
    defaultAction,
    ...rest,
    ...(architectures && { architectures }),
    syscalls: rules
      .filter((rule) => includes(rule.includes, context) && !excludes(rule.excludes, context))
      .map(({ names, action, errnoRet, args }) => ({
        names: [...names],
        action,
        ...(errnoRet !== undefined && { errnoRet }),
        ...(args.length > 0 && { args: args.map((arg) => ({ ...arg })) }),
      })),
  };
}

const SCMP_ARCH: Record<Abi, string> = {
  x86_64: "SCMP_ARCH_X86_64",
  i386: "SCMP_ARCH_X86",
  x32: "SCMP_ARCH_X32",
  aarch64: "SCMP_ARCH_AARCH64",
  arm: "SCMP_ARCH_ARM",
};

/** Names in the `arches` of a condition. */
const CONDITION_ARCH: Record<Abi, string> = { x86_64: "amd64", i386: "x86", x32: "x32", aarch64: "arm64", arm: "arm" };

function includes(condition: Condition, { caps, abi, kernel }: Context): boolean {
  return (
    condition.caps.every((cap) => caps.includes(cap)) &&
    (condition.arches.length === 0 || condition.arches.includes(CONDITION_ARCH[abi])) &&
    (condition.minKernel === undefined || atLeast(kernel, condition.minKernel))
  );
}

function excludes(condition: Condition, { caps, abi, kernel }: Context): boolean {
  return (
    condition.caps.some((cap) => caps.includes(cap)) ||
    condition.arches.includes(CONDITION_ARCH[abi]) ||
    (condition.minKernel !== undefined && atLeast(kernel, condition.minKernel))
  );
}

function atLeast(kernel: KernelVersion, wanted: KernelVersion): boolean {
  return kernel.major > wanted.major || (kernel.major === wanted.major && kernel.minor >= wanted.minor);
}
