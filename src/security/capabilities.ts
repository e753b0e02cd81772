import { readFileSync } from "node:fs";
import { invalid } from "../base/errors.ts";
import { didYouMean } from "../base/nearest.ts";

/** All capabilities; the index is the number (capabilities(7), linux/capability.h). */
export const CAPABILITIES: readonly string[] =
  `CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
  NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
  SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
  MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`
    .split(/\s+/)
    .map((name) => `CAP_${name}`);

const numbers = new Map(CAPABILITIES.map((name, number) => [name, number]));

/** What a container gets that asks for nothing: the same 14 as Docker and containerd. */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FOWNER",
  "CAP_FSETID",
  "CAP_KILL",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_SETPCAP",
  "CAP_NET_BIND_SERVICE",
  "CAP_NET_RAW",
  "CAP_SYS_CHROOT",
  "CAP_MKNOD",
  "CAP_AUDIT_WRITE",
  "CAP_SETFCAP",
];

/** Number of `CAP_X`; undefined for any other string. */
export function capabilityNumber(name: string): number | undefined {
  return numbers.get(name);
}

/** `CAP_X` for `x`, `X`, `cap_x`; an unknown one is an invalid-argument error that names the nearest. */
export function normalizeCapability(name: string): string {
  const upper = name.toUpperCase();
  const full = upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
  if (!numbers.has(full)) {
    throw invalid(`unknown capability ${JSON.stringify(name.slice(0, 64))}${didYouMean(full, CAPABILITIES)}`);
  }
  return full;
}

const ALL = "ALL";

/**
 * The capabilities of a container, in number order. `add` and `drop` take names in any case, with or without CAP_, or
 * ALL: add ALL is everything but the drops, drop ALL exactly the adds, else the defaults without the drops and with the
 * adds. `privileged` is all of `available`, the engine's own set; asking by name for another is an invalid-argument
 * error, while a default that is missing there is left out.
 */
export function resolveCapabilities(request: {
  add: readonly string[];
  drop: readonly string[];
  privileged: boolean;
  available: readonly string[];
}): string[] {
  const available = new Set(request.available);
  if (request.privileged) return ordered(available);
  const read = (names: readonly string[]) => new Set(names.map((name) => requested(name, available)));
  const add = read(request.add);
  const drop = read(request.drop);
  const asked = [...add].filter((name) => name !== ALL);
  if (add.has(ALL)) return ordered([...available].filter((name) => !drop.has(name)));
  if (drop.has(ALL)) return ordered(asked);
  return ordered([...DEFAULT_CAPABILITIES.filter((name) => available.has(name) && !drop.has(name)), ...asked]);
}

function requested(name: string, available: ReadonlySet<string>): string {
  if (name.toUpperCase() === ALL) return ALL;
  const full = normalizeCapability(name);
  if (!available.has(full)) {
    throw invalid(`capability ${full} is not supported by the kernel or not available to the engine`);
  }
  return full;
}

function ordered(names: Iterable<string>): string[] {
  const wanted = new Set(names);
  return CAPABILITIES.filter((name) => wanted.has(name));
}

let last: number | undefined;

/** Number of the highest capability that the kernel knows; perhaps one that {@link CAPABILITIES} has no name for. */
export function lastCapability(): number {
  last ??= Number(readFileSync("/proc/sys/kernel/cap_last_cap", "utf8"));
  return last;
}

/**
 * What the engine can give away: capabilities both in its permitted and its bounding set and known to the kernel.
 * `status` is a file like /proc/self/status.
 */
export function availableCapabilities(status = "/proc/self/status", highest = lastCapability()): string[] {
  const text = readFileSync(status, "utf8");
  const set = (field: string) => BigInt(`0x${new RegExp(`^${field}:\\s*([0-9a-f]+)$`, "m").exec(text)?.[1] ?? "0"}`);
  const own = set("CapPrm") & set("CapBnd");
  return CAPABILITIES.filter((_, number) => number <= highest && (own >> BigInt(number)) & 1n);
}
