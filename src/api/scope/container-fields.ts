import { posix } from "node:path";
import { InroError } from "../../base/errors.ts";
import { isBelow } from "../../engine/bounds.ts";
import { parseVolume } from "../../engine/config/volume-spec.ts";
import { DEFAULT_CAPABILITIES } from "../../security/capabilities.ts";
import { MASKED_PATHS, READONLY_PATHS } from "../../security/paths.ts";
import type { Scope } from "./policy.ts";

/**
 * What a container may be made of on a socket with limited rights, field by field. A field without a rule is refused as
 * soon as it asks for something: what is added to the API later must be judged here before it is allowed.
 */
type Fields = Record<string, unknown>;

/** Why a value is refused; undefined: it is not. */
type FieldRule = (value: unknown, scope: Scope) => string | undefined;

export const forbidden = (scope: Scope, why: string) =>
  new InroError("forbidden", `${why}: not allowed on the socket ${scope.name}`);

/** What asks for nothing, such as the zero values that the docker command always sends. */
function empty(value: unknown): boolean {
  if (value === undefined || value === null || value === "" || value === 0 || value === false) return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

const free: FieldRule = () => undefined;
const strings = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : [String(value)]);

/** A namespace: those of other containers are looked at by the guard. */
const namespace =
  (name: string, what: string): FieldRule =>
  (value, { namespaces }) =>
    value === "host" && !namespaces.has(name) ? `the host's ${what} namespace` : undefined;

const capabilities: FieldRule = (value, scope) => {
  if (scope.capabilities.has("ALL") || scope.privileged) return undefined;
  const allowed = (name: string) => {
    const upper = name.toUpperCase();
    const full = upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
    return scope.capabilities.has(full) || DEFAULT_CAPABILITIES.includes(full);
  };
  const wrong = strings(value).find((name) => !allowed(name));
  return wrong === undefined ? undefined : `capability ${wrong.slice(0, 64)}`;
};

/** What only takes rights away. */
const HARMLESS_OPTIONS = /^(no-new-privileges([=:](true|1))?|seccomp[=:]builtin)$/;

const securityOptions: FieldRule = (value, scope) => {
  if (scope.unconfined || scope.privileged) return undefined;
  const wrong = strings(value).find((option) => !HARMLESS_OPTIONS.test(option));
  return wrong === undefined ? undefined : `security option ${wrong.slice(0, 64)}`;
};

/** Paths that /proc and /sys must keep hidden or read-only: more of them are fine, fewer are not. */
const keeps =
  (paths: readonly string[], what: string): FieldRule =>
  (value, scope) => {
    if (value === null || value === undefined || scope.unconfined || scope.privileged) return undefined;
    const given = new Set(strings(value));
    const missing = paths.find((path) => !given.has(path));
    return missing === undefined ? undefined : `${what} without ${missing}`;
  };

const devices: FieldRule = (value, scope) => {
  if (scope.privileged) return undefined;
  for (const one of Array.isArray(value) ? value : [value]) {
    const path = String((one as Fields | null)?.PathOnHost);
    if (!scope.devices.has(posix.normalize(path))) return `device ${path.slice(0, 100)}`;
  }
  return undefined;
};

const unlessPrivileged =
  (what: string): FieldRule =>
  (_value, { privileged }) =>
    privileged ? undefined : what;
const never =
  (what: string): FieldRule =>
  () =>
    what;
const only =
  (what: string, ...values: unknown[]): FieldRule =>
  (value) =>
    values.includes(value) ? undefined : `${what} ${String(value).slice(0, 64)}`;

function bind(source: string, scope: Scope): string | undefined {
  const clean = posix.normalize(source);
  return scope.directories.some((directory) => isBelow(clean, directory))
    ? undefined
    : `a mount of the host's ${source.slice(0, 200)}`;
}

const binds: FieldRule = (value, scope) => {
  for (const text of strings(value)) {
    const { type, source, propagation } = parseVolume(text);
    const why = type === "bind" ? (bind(source, scope) ?? propagates(propagation)) : undefined;
    if (why) return why;
  }
  return undefined;
};

/** Mounts that appear on the host. */
const propagates = (propagation: unknown) =>
  typeof propagation === "string" && /shared/.test(propagation) ? `mount propagation ${propagation}` : undefined;

const MOUNT_FIELDS = new Set(
  "Type Source Target ReadOnly Consistency BindOptions VolumeOptions TmpfsOptions".split(" "),
);

const mounts: FieldRule = (value, scope) => {
  for (const one of Array.isArray(value) ? value : [value]) {
    const mount = (one ?? {}) as Fields;
    const unknown = Object.keys(mount).find((field) => !MOUNT_FIELDS.has(field) && !empty(mount[field]));
    if (unknown !== undefined) return `mount field ${unknown.slice(0, 64)}`;
    if (mount.Type === "bind") {
      const why = bind(String(mount.Source), scope) ?? propagates((mount.BindOptions as Fields | null)?.Propagation);
      if (why) return why;
    } else if (mount.Type === "volume") {
      // The local driver's options can name any directory or device.
      const driver = (mount.VolumeOptions as Fields | null | undefined)?.DriverConfig as Fields | null | undefined;
      if (!empty(driver?.Options) || !(empty(driver?.Name) || driver?.Name === "local")) return "volume driver options";
    } else if (mount.Type !== "tmpfs") return `a mount of type ${String(mount.Type).slice(0, 64)}`;
  }
  return undefined;
};

const logging: FieldRule = (value) =>
  ["", "json-file", "local", "none"].includes(String((value as Fields).Type ?? ""))
    ? undefined
    : `log driver ${String((value as Fields).Type).slice(0, 64)}`;

const ports: FieldRule = (_value, { ports }) => (ports ? undefined : "publishing ports");

const HOST_RULES: Record<string, FieldRule> = {
  AutoRemove: free,
  Binds: binds,
  BlkioDeviceReadBps: free,
  BlkioDeviceReadIOps: free,
  BlkioDeviceWriteBps: free,
  BlkioDeviceWriteIOps: free,
  BlkioWeight: free,
  CapAdd: capabilities,
  CapDrop: free,
  CgroupParent: never("a cgroup parent"),
  CgroupnsMode: namespace("cgroup", "cgroup"),
  ConsoleSize: free,
  ContainerIDFile: free,
  CpuPeriod: free,
  CpuQuota: free,
  CpuShares: free,
  CpusetCpus: free,
  CpusetMems: free,
  DeviceCgroupRules: unlessPrivileged("device cgroup rules"),
  Devices: devices,
  Dns: free,
  DnsOptions: free,
  DnsSearch: free,
  ExtraHosts: free,
  GroupAdd: free,
  Init: free,
  IpcMode: namespace("ipc", "IPC"),
  Isolation: only("isolation", "default"),
  Links: free,
  LogConfig: logging,
  MaskedPaths: keeps(MASKED_PATHS, "masked paths"),
  Memory: free,
  MemoryReservation: free,
  MemorySwap: free,
  MemorySwappiness: free,
  Mounts: mounts,
  NanoCpus: free,
  NetworkMode: namespace("network", "network"),
  OomKillDisable: never("disabling the OOM killer"),
  OomScoreAdj: (value) => (Number(value) >= 0 ? undefined : `OOM score ${value}`),
  PidMode: namespace("pid", "PID"),
  PidsLimit: free,
  PortBindings: ports,
  Privileged: unlessPrivileged("a privileged container"),
  PublishAllPorts: ports,
  ReadonlyPaths: keeps(READONLY_PATHS, "read-only paths"),
  ReadonlyRootfs: free,
  Egress: free,
  Bandwidth: free,
  IdleTTL: free,
  RestartOnUnhealthy: free,
  RestartPolicy: free,
  Runtime: only("runtime", "inro", "runc", "io.containerd.runc.v2"),
  SecurityOpt: securityOptions,
  ShmSize: free,
  Sysctls: free,
  TTL: free,
  Tmpfs: free,
  Ulimits: free,
  UTSMode: namespace("uts", "UTS"),
  UsernsMode: namespace("user", "user"),
  VolumeDriver: only("volume driver", "local"),
  VolumesFrom: free,
};

const CONFIG_FIELDS = new Set(
  `ArgsEscaped AttachStderr AttachStdin AttachStdout Cmd Domainname Entrypoint Env ExposedPorts Healthcheck HostConfig
  Hostname Image Labels MacAddress NetworkDisabled NetworkingConfig OnBuild OpenStdin Shell StdinOnce StopSignal
  StopTimeout Tty User Volumes WorkingDir`.split(/\s+/),
);

/** Masked and read-only paths say something when they are empty. */
const ALWAYS_ASKED = new Set(["MaskedPaths", "ReadonlyPaths"]);

/** Why a HostConfig, as it came or as it is recorded, is more than the scope gives; undefined: it is not. */
export function hostViolation(scope: Scope, host: Fields): string | undefined {
  for (const [name, value] of Object.entries(host)) {
    if (empty(value) && !ALWAYS_ASKED.has(name)) continue;
    const rule = Object.hasOwn(HOST_RULES, name) ? HOST_RULES[name] : undefined;
    if (!rule) return `HostConfig.${name.slice(0, 64)}`;
    const why = rule(value, scope);
    if (why !== undefined) return why;
  }
  return undefined;
}

/** As {@link hostViolation} for the rest of a create request's body. */
export function configViolation(body: Fields): string | undefined {
  const unknown = Object.keys(body).find((name) => !CONFIG_FIELDS.has(name) && !empty(body[name]));
  return unknown === undefined ? undefined : unknown.slice(0, 64);
}

/** `container:NAME` fields. */
export const NAMESPACE_FIELDS = ["NetworkMode", "PidMode", "IpcMode"] as const;

/**
 * Puts the scope's ceilings into a HostConfig: what is not asked for becomes the ceiling. With `update`, which leaves
 * alone what it does not name, nothing is filled in. Throws forbidden for what is above.
 */
export function applyCeilings(scope: Scope, host: Fields, update = false): void {
  const number = (name: string) => (typeof host[name] === "number" ? (host[name] as number) : 0);
  const { memory, nanoCpus, pids } = scope;
  if (memory !== undefined) {
    if (number("Memory") > memory) throw forbidden(scope, `more memory than ${memory} bytes`);
    if (number("Memory") <= 0 && !update) host.Memory = memory;
    // Swap counts memory in; twice is what docker gives by itself.
    const swap = number("MemorySwap");
    if (swap < 0 || swap > 2 * memory) throw forbidden(scope, `more swap than ${memory} bytes`);
  }
  if (nanoCpus !== undefined) {
    const quota = number("CpuQuota");
    const asked = quota === 0 ? number("NanoCpus") : (quota / (number("CpuPeriod") || 100_000)) * 1e9;
    if (quota < 0 || asked > nanoCpus || number("NanoCpus") > nanoCpus) {
      throw forbidden(scope, `more than ${nanoCpus / 1e9} processors`);
    }
    if (update && number("CpuPeriod") !== 0 && quota === 0) throw forbidden(scope, "a CPU period without a quota");
    if (asked <= 0 && !update) {
      host.NanoCpus = nanoCpus;
      delete host.CpuPeriod;
    }
  }
  if (pids !== undefined) {
    const asked = number("PidsLimit");
    if (asked > pids || (update && asked < 0)) throw forbidden(scope, `more than ${pids} processes`);
    if (asked <= 0 && !update) host.PidsLimit = pids;
  }
}
