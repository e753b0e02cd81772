import { invalid } from "../../base/errors.ts";
import type { NamespaceType, Spec } from "../../spec/oci-runtime.ts";
import { sysctlPath } from "../sysctl.ts";

/** UID_GID_MAP_MAX_EXTENTS (user_namespaces(7)). */
const MAX_MAPPINGS = 340;
const MAX_NANOSECONDS = 999_999_999;

/** What `linux.namespaces` allows and asks for in the rest of a config; what contradicts it is an invalid-argument error. */
export function checkNamespaces(spec: Spec): void {
  const linux = spec.linux ?? {};
  const paths = new Map<NamespaceType, string | undefined>();
  for (const { type, path } of linux.namespaces ?? []) {
    if (paths.has(type)) throw invalid(`config.json: linux.namespaces: ${type} twice`);
    if (path && !path.startsWith("/")) {
      throw invalid(`config.json: linux.namespaces: the path of ${type} must be absolute, is ${path}`);
    }
    paths.set(type, path || undefined);
  }
  const own = (type: NamespaceType) => paths.has(type) && paths.get(type) === undefined;
  if (spec.hostname && !paths.has("uts")) throw invalid("config.json: hostname: needs a uts namespace");
  if (spec.domainname && !paths.has("uts")) throw invalid("config.json: domainname: needs a uts namespace");
  if (!paths.has("mount") && (linux.maskedPaths?.length || linux.readonlyPaths?.length)) {
    throw invalid(
      "config.json: linux.maskedPaths, linux.readonlyPaths: unable to restrict sys entries without a private MNT namespace",
    );
  }
  for (const name of ["uidMappings", "gidMappings"] as const) {
    const count = linux[name]?.length ?? 0;
    if (count > MAX_MAPPINGS) {
      throw invalid(`config.json: linux.${name}: ${count} are too many, the kernel takes ${MAX_MAPPINGS}`);
    }
  }
  const mapped = Boolean(linux.uidMappings?.length) || Boolean(linux.gidMappings?.length);
  if (mapped && !paths.has("user")) throw invalid("config.json: linux.uidMappings: need a user namespace");
  if (own("user") && !(linux.uidMappings?.length && linux.gidMappings?.length)) {
    throw invalid("config.json: linux.namespaces: a new user namespace needs uidMappings and gidMappings");
  }
  if (Object.keys(linux.timeOffsets ?? {}).length > 0 && !own("time")) {
    throw invalid("config.json: linux.timeOffsets: need a new time namespace");
  }
  for (const [clock, { nanosecs = 0 }] of Object.entries(linux.timeOffsets ?? {})) {
    if (clock !== "monotonic" && clock !== "boottime") {
      throw invalid(`config.json: linux.timeOffsets: unknown clock ${JSON.stringify(clock)}`);
    }
    if (nanosecs > MAX_NANOSECONDS) {
      throw invalid(`config.json: linux.timeOffsets.${clock}.nanosecs: ${nanosecs} is over ${MAX_NANOSECONDS}`);
    }
  }
}

const MAX_DEVICE_NAME = 15;

/** Names as the kernel has them (dev_valid_name in net/core/dev.c); `%d` at the end of a new one is a number of its own. */
export function checkNetDevices(spec: Spec): void {
  const devices = spec.linux?.netDevices;
  if (!devices || Object.keys(devices).length === 0) return;
  if (!spec.linux?.namespaces?.some((n) => n.type === "network")) {
    throw invalid("config.json: linux.netDevices: unable to move network devices without a NET namespace");
  }
  for (const [name, device] of Object.entries(devices)) {
    checkDeviceName(name, `linux.netDevices: ${JSON.stringify(name)}`, false);
    if (device.name)
      checkDeviceName(device.name, `linux.netDevices.${name}.name: ${JSON.stringify(device.name)}`, true);
  }
}

function checkDeviceName(name: string, at: string, pattern: boolean): void {
  const plain = pattern ? name.replace(/%d$/, "") : name;
  const valid = name !== "." && name !== ".." && plain !== "" && !/[\s/:%]/.test(plain);
  if (!valid) throw invalid(`config.json: ${at}: is no name of a network device`);
  if (Buffer.byteLength(name) > MAX_DEVICE_NAME) {
    throw invalid(`config.json: ${at}: is longer than ${MAX_DEVICE_NAME} bytes`);
  }
}

const IPC = new Set(
  "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax kernel.shmmni kernel.shm_rmid_forced".split(
    " ",
  ),
);

/** Only what belongs to a namespace of the container's own; everything else would be the host's. */
export function checkSysctl(spec: Spec): void {
  const namespaces = spec.linux?.namespaces ?? [];
  for (const key in spec.linux?.sysctl) {
    if (
      !/^[\w.\-/]+$/.test(key) ||
      sysctlPath(key)
        .split("/")
        .some((part) => part === "" || /^\.\.?$/.test(part))
    ) {
      throw invalid(`config.json: linux.sysctl: ${JSON.stringify(key)} is no name`);
    }
    const need = namespaceOfSysctl(key);
    if (sysctlPath(key) === "kernel/hostname") {
      throw invalid(`config.json: linux.sysctl: ${key} is not allowed as it conflicts with the OCI "hostname" field`);
    }
    if (!need) throw invalid(`config.json: linux.sysctl: ${key} is not in a separate kernel namespace`);
    if (!namespaces.some((n) => n.type === need)) {
      throw invalid(`config.json: linux.sysctl: ${key} is not allowed in the hosts ${need} namespace`);
    }
  }
}

/** The type of namespace that a sysctl belongs to; undefined for one of the whole machine. */
export function namespaceOfSysctl(key: string): NamespaceType | undefined {
  const name = sysctlPath(key).replaceAll("/", ".");
  if (IPC.has(name) || name.startsWith("fs.mqueue.")) return "ipc";
  if (name.startsWith("net.")) return "network";
  if (name === "kernel.domainname") return "uts";
  return name.startsWith("user.") ? "user" : undefined;
}
