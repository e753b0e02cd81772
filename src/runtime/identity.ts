import { invalid } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { Data, type Slot } from "../program/ir.ts";
import { CAPABILITIES, capabilityNumber } from "../security/capabilities.ts";
import type { Filter } from "../security/seccomp/compile.ts";
import type { Process } from "../spec/oci-runtime.ts";
import type { Builder } from "./builder.ts";

/** Order of the numbers: asm-generic/resource.h. */
const RLIMITS =
  "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME".split(" ");
const LINUX_CAPABILITY_VERSION_3 = 0x20080522;
const SYS_ADMIN = 21;

/** `process.rlimits` by the kernel's numbers. Unknown and repeated types are invalid-argument errors. */
export function limitsOf(process: Process): { type: string; resource: number; soft: bigint; hard: bigint }[] {
  const seen = new Set<string>();
  return (process.rlimits ?? []).map(({ type, soft, hard }) => {
    const resource = RLIMITS.indexOf(type.replace(/^RLIMIT_/, ""));
    if (resource < 0) throw invalid(`process.rlimits: unknown type ${JSON.stringify(type)}`);
    if (seen.has(type)) throw invalid(`process.rlimits: ${type} twice`);
    seen.add(type);
    return { type, resource, soft: limit(soft), hard: limit(hard) };
  });
}

/** -1 and what a double of the engine's cannot hold mean RLIM_INFINITY; a bigint is exact. */
function limit(value: number | bigint): bigint {
  if (typeof value === "bigint") return value;
  return value < 0 || value >= 2 ** 63 ? 2n ** 64n - 1n : BigInt(value);
}

/** struct rlimit64. */
export function limitBytes(soft: bigint, hard: bigint): Uint8Array {
  return new Uint8Array(new BigUint64Array([soft, hard]).buffer);
}

export function setLimits(p: Builder, process: Process): void {
  for (const { type, resource, soft, hard } of limitsOf(process)) {
    p.call(`process.rlimits ${type}`, "prlimit64", [
      0,
      resource,
      p.bytes(limitBytes(soft, hard), `${soft}:${hard}`),
      0,
    ]);
  }
}

const bits = (names: readonly string[] | undefined): bigint => {
  let set = 0n;
  for (const name of names ?? []) {
    const number = capabilityNumber(name);
    // The spec asks for a warning only: what the kernel does not know cannot be given.
    if (number !== undefined) set |= 1n << BigInt(number);
  }
  return set;
};

function capset(p: Builder, why: string, effective: bigint, permitted: bigint, inheritable: bigint): void {
  const header = p.bytes(
    new Uint8Array(new Uint32Array([LINUX_CAPABILITY_VERSION_3, 0]).buffer),
    "capability version 3",
  );
  const words = new Uint32Array(6);
  for (const [i, set] of [effective, permitted, inheritable].entries()) {
    words[i] = Number(set & 0xffff_ffffn);
    words[i + 3] = Number(set >> 32n);
  }
  const shown = `effective ${effective.toString(16)} permitted ${permitted.toString(16)} inheritable ${inheritable.toString(16)}`;
  p.call(why, "capset", [header, p.bytes(new Uint8Array(words.buffer), shown)]);
}

/** With the listener's descriptor, if the filter has one. */
export function installFilter(p: Builder, filter: Filter): Slot | undefined {
  const code = p.bytes(filter.code, `${filter.count} instructions`);
  const prog = new Uint8Array(16);
  new DataView(prog.buffer).setUint16(0, filter.count, true);
  const fprog = new Data(prog, `sock_fprog: ${filter.count} instructions`, [[8, code]]);
  const args = [k.SECCOMP_SET_MODE_FILTER, filter.flags, fprog];
  if (filter.listener) return p.result("linux.seccomp", "seccomp listener", "seccomp", args);
  p.call("linux.seccomp", "seccomp", args);
  return undefined;
}

/**
 * From root with everything to the container's process, in the only order that works: the bounding set needs SETPCAP,
 * groups need SETGID, a filter without no_new_privs needs SYS_ADMIN, and after the filter as little as possible runs.
 */
export function becomeUser(
  p: Builder,
  process: Process,
  filter: Filter | undefined,
  options: {
    lastCapability: number;
    pdeathsig?: number;
    traceable?: boolean;
    noSetgroups?: boolean;
    listener?(p: Builder, fd: Slot): void;
    asUser?(): void;
  },
): void {
  const { user, capabilities } = process;
  const why = "process.user";
  if (capabilities) {
    const bounding = bits(capabilities.bounding);
    for (let n = 0; n <= options.lastCapability; n++) {
      if (bounding & (1n << BigInt(n))) continue;
      const cause = `process.capabilities.bounding: no ${CAPABILITIES[n] ?? n}`;
      p.call(cause, "prctl", [k.PR_CAPBSET_DROP, n, 0, 0, 0], { ignore: ["EINVAL"] });
    }
  }
  const groups = user.additionalGids ?? [];
  if (!options.noSetgroups) {
    const list = p.bytes(new Uint8Array(new Uint32Array(groups).buffer), groups.join(" "));
    p.call(why, "setgroups", [groups.length, list]);
  } else if (groups.length > 0) {
    throw invalid(
      "process.user.additionalGids: cannot set any additional groups in a rootless container whose user namespace " +
        "refuses setgroups; several linux.gidMappings, which newgidmap writes, allow them",
    );
  }
  p.call(why, "setresgid", [user.gid, user.gid, user.gid]);
  p.call(why, "prctl", [k.PR_SET_KEEPCAPS, 1, 0, 0, 0]);
  p.call(why, "setresuid", [user.uid, user.uid, user.uid]);
  p.call(why, "prctl", [k.PR_SET_KEEPCAPS, 0, 0, 0, 0]);
  if (options.traceable) p.call("rootless: its user may look for it", "prctl", [k.PR_SET_DUMPABLE, 1, 0, 0, 0]);
  options.asUser?.();
  p.call("process.user.umask", "umask", [user.umask ?? 0o022]);
  // Changing the user clears it, so it comes after.
  if (options.pdeathsig) p.call("it ends with its parent", "prctl", [k.PR_SET_PDEATHSIG, options.pdeathsig, 0, 0, 0]);

  const effective = bits(capabilities?.effective);
  const permitted = bits(capabilities?.permitted);
  const inheritable = bits(capabilities?.inheritable);
  const ambient = capabilities?.ambient ?? [];
  const late = filter !== undefined && !process.noNewPrivileges && capabilities !== undefined;
  const extra = late ? 1n << BigInt(SYS_ADMIN) : 0n;
  if (capabilities) {
    capset(p, "process.capabilities", effective | extra, permitted | extra, inheritable);
    for (const name of ambient) {
      const number = capabilityNumber(name);
      if (number === undefined) continue;
      const args = [k.PR_CAP_AMBIENT, k.PR_CAP_AMBIENT_RAISE, number, 0, 0];
      p.call(`process.capabilities.ambient ${name}`, "prctl", args, { ignore: ["EPERM", "EINVAL"] });
    }
  }
  if (process.noNewPrivileges) p.call("process.noNewPrivileges", "prctl", [k.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0]);
  const listener = filter && installFilter(p, filter);
  if (listener) options.listener?.(p, listener);
  if (late && (extra & permitted) === 0n) {
    capset(p, "process.capabilities: SYS_ADMIN was for the filter only", effective, permitted, inheritable);
  }
}
