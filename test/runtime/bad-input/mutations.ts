import fc from "fast-check";
import { defaultSpec } from "../../../src/runtime/oci/spec.ts";
import type { Spec } from "../../../src/spec/oci-runtime.ts";

/** Valid configs, and what a fuzzer does to them. */

type Json = unknown;
type Record_ = Record<string, Json>;

/** One that uses most of what there is. */
export function richSpec(): Spec {
  const base = defaultSpec(false);
  const id = (hostID: number) => [{ containerID: 0, hostID, size: 65536 }];
  return {
    ...base,
    domainname: "example.org",
    root: { path: "rootfs", readonly: false },
    process: {
      ...base.process!,
      terminal: false,
      args: ["echo", "x"],
      user: { uid: 0, gid: 0, umask: 0o22, additionalGids: [1, 2] },
      oomScoreAdj: 100,
      rlimits: [
        { type: "RLIMIT_NOFILE", soft: 512, hard: 1024 },
        { type: "RLIMIT_CORE", soft: 0, hard: 0 },
      ],
    },
    mounts: [
      ...base.mounts!,
      { destination: "/data", type: "tmpfs", source: "tmpfs", options: ["rw", "size=1m", "nosuid"] },
      { destination: "/null", type: "bind", source: "/dev/null", options: ["rbind", "ro", "rslave"] },
    ],
    annotations: { "org.example.key": "value" },
    linux: {
      ...base.linux!,
      namespaces: [...base.linux!.namespaces!, { type: "user" }],
      uidMappings: id(100000),
      gidMappings: id(200000),
      sysctl: { "kernel.msgmax": "8192", "net.ipv4.ip_forward": "1" },
      devices: [{ path: "/dev/fuse", type: "c", major: 10, minor: 229, fileMode: 0o666, uid: 0, gid: 0 }],
      rootfsPropagation: "rslave",
      resources: {
        devices: [
          { allow: false, access: "rwm" },
          { allow: true, type: "c", major: 10, minor: 229, access: "rwm" },
        ],
        pids: { limit: 100 },
        cpu: { shares: 512 },
      },
      seccomp: {
        defaultAction: "SCMP_ACT_ERRNO",
        defaultErrnoRet: 1,
        architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        syscalls: [
          { names: ["read", "write", "execve", "exit_group"], action: "SCMP_ACT_ALLOW" },
          {
            names: ["personality"],
            action: "SCMP_ACT_ALLOW",
            args: [{ index: 0, value: 8, op: "SCMP_CMP_EQ" }],
          },
        ],
      } as never,
    },
  };
}

const strings = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.constantFrom(
    "",
    "\0",
    "a\0b",
    ".",
    "..",
    "/",
    "//",
    "/..",
    "../../../../x",
    "/proc/self/exe",
    "/proc/self/fd/3",
    "/proc/1/root",
    "/dev/full",
    "/nowhere",
    "rootfs",
    "__proto__",
    "constructor",
    "toString",
    "\u202e\ud800",
    "true",
    "0",
    "bind",
    "remount",
    "idmap",
    "user",
    "time",
    "SCMP_ACT_NOTIFY",
    "SCMP_CMP_MASKED_EQ",
    "x".repeat(300),
    "x/".repeat(3000),
  ),
);
const numbers = fc.oneof(
  fc.integer(),
  fc.double(),
  fc.constantFrom(
    0,
    -0,
    -1,
    1,
    255,
    65535,
    65536,
    2 ** 31,
    2 ** 32 - 1,
    2 ** 32,
    2 ** 53,
    2 ** 63,
    2 ** 64,
    1e300,
    0.5,
  ),
);
const values: fc.Arbitrary<Json> = fc.oneof(
  { weight: 4, arbitrary: strings },
  { weight: 4, arbitrary: numbers },
  { weight: 1, arbitrary: fc.constantFrom(null, true, false) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
);

export type Mutation =
  | { kind: "drop" | "repeat" | "swap"; at: number; from: number }
  | { kind: "set" | "insert"; at: number; value: Json }
  | { kind: "rename"; at: number; name: string };

const place = fc.nat({ max: 1e6 });
export const mutations: fc.Arbitrary<Mutation[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constantFrom("drop", "repeat", "swap" as const), at: place, from: place }),
    fc.record({ kind: fc.constantFrom("set", "insert" as const), at: place, value: values }),
    fc.record({ kind: fc.constant("rename" as const), at: place, name: strings }),
  ),
  { minLength: 1, maxLength: 4 },
) as fc.Arbitrary<Mutation[]>;

interface Place {
  parent: Record_ | Json[];
  key: string | number;
}

function places(value: Json, found: Place[] = []): Place[] {
  if (typeof value !== "object" || value === null) return found;
  const keys = Array.isArray(value) ? value.keys() : Object.keys(value);
  for (const key of keys) {
    found.push({ parent: value as never, key });
    places((value as Record_)[key], found);
  }
  return found;
}

/** The same config each time for the same mutations. */
export function mutate(spec: Spec, changes: readonly Mutation[]): Spec {
  const copy = structuredClone(spec) as unknown as Record_;
  for (const change of changes) {
    const all = places(copy);
    const at = all[change.at % Math.max(all.length, 1)];
    if (!at) break;
    const parent = at.parent as Record_;
    const own = (name: string, value: Json) =>
      Object.defineProperty(parent, name, { value, enumerable: true, writable: true, configurable: true });
    if (change.kind === "set") parent[at.key] = change.value;
    else if (change.kind === "drop") Array.isArray(parent) ? parent.splice(Number(at.key), 1) : delete parent[at.key];
    else if (change.kind === "swap") {
      const other = all[change.from % all.length]!;
      parent[at.key] = structuredClone((other.parent as Record_)[other.key]);
    } else if (change.kind === "rename") {
      const value = parent[at.key];
      delete parent[at.key];
      if (!Array.isArray(parent)) own(change.name, value);
    } else if (Array.isArray(parent)) {
      parent.splice(
        Number(at.key),
        0,
        change.kind === "insert" ? change.value : structuredClone(parent[Number(at.key)]),
      );
    } else if (change.kind === "insert") own("surplus", change.value);
  }
  return copy as unknown as Spec;
}
