import { posix } from "node:path";
import { invalid } from "../../base/errors.ts";
import type { HostConfig } from "../../spec/docker-api.ts";
import type { Device, DeviceRule } from "../../spec/oci-runtime.ts";
import type { HostFiles, HostNode } from "./host-files.ts";

/** Devices that a container gets besides the standard nodes, and the rules of its device cgroup. */
export interface ContainerDevices {
  /** `source` is the node on the host. */
  devices: { device: Device; source: string }[];
  rules: DeviceRule[];
}

const rule = (type: "c" | "b", major?: number, minor?: number, access = "rwm"): DeviceRule => ({
  allow: true,
  type,
  ...(major === undefined ? {} : { major }),
  ...(minor === undefined ? {} : { minor }),
  access,
});

/** docker's rules with those runc adds; later rules win. Any node may be made, only these may be opened. */
const DEFAULT_RULES: readonly DeviceRule[] = [
  { allow: false, type: "a", access: "rwm" },
  rule("c", undefined, undefined, "m"),
  rule("b", undefined, undefined, "m"),
  rule("c", 1, 3), // null
  rule("c", 1, 5), // zero
  rule("c", 1, 7), // full
  rule("c", 1, 8), // random
  rule("c", 1, 9), // urandom
  rule("c", 5, 0), // tty
  rule("c", 5, 1), // console
  rule("c", 5, 2), // ptmx
  rule("c", 136), // pts/*
];

// Below /dev: other mounts, what each container has of its own, and the host's terminals.
const NOT_FOR_PRIVILEGED =
  /^(pts|shm|fd|mqueue|hugepages|console|ptmx|tty|tty[0-9]+|null|zero|full|random|urandom|\.lxc|\.lxd-mounts|\.udev)$/;

/** Nodes looked at below one path. */
const MAX_NODES = 4096;

/** Devices of a HostConfig, resolved on the host now. Throws invalid for what is no device. */
export function containerDevices(host: HostConfig, files: HostFiles): ContainerDevices {
  const devices = new Map<string, { device: Device; source: string }>();
  const rules: DeviceRule[] = host.Privileged ? [{ allow: true, type: "a", access: "rwm" }] : [...DEFAULT_RULES];

  if (host.Privileged) {
    for (const name of files.list("/dev")) {
      if (NOT_FOR_PRIVILEGED.test(name)) continue;
      for (const [path, node] of devicesBelow(`/dev/${name}`, files))
        devices.set(path, { device: device(path, node), source: path });
    }
  }
  for (const { PathOnHost, PathInContainer, CgroupPermissions } of host.Devices ?? []) {
    const access = CgroupPermissions || "rwm";
    const source = clean(PathOnHost);
    const target = clean(PathInContainer || source);
    const found = devicesBelow(source, files);
    if (found.length === 0) {
      const why = files.stat(source) ? "not a device node" : "no such file or directory";
      throw invalid(`error gathering device information while adding custom device "${source}": ${why}`);
    }
    for (const [path, node] of found) {
      const at = target + path.slice(source.length);
      devices.set(at, { device: device(at, node), source: path });
      if (!host.Privileged) rules.push(rule(node.type, node.major, node.minor, access));
    }
  }
  for (const text of host.DeviceCgroupRules ?? []) rules.push(parseDeviceRule(text));
  return { devices: [...devices.values()], rules };
}

/** Checks paths and permissions without looking at the host. */
export function checkDevices(host: HostConfig): void {
  for (const { PathOnHost: source, PathInContainer: inside, CgroupPermissions: access } of host.Devices ?? []) {
    for (const path of [source, inside || source]) {
      if (!path.startsWith("/") || path.length > 4095)
        throw invalid(`invalid device path: '${path.slice(0, 256)}' must be absolute`);
    }
    if (posix.normalize(inside || source) === "/") throw invalid("invalid device path: '/' is no place for a device");
    if (access && (!/^[rwm]{1,3}$/.test(access) || new Set(access).size !== access.length)) {
      throw invalid(`bad mode specified: ${access.slice(0, 64)}`);
    }
  }
  for (const text of host.DeviceCgroupRules ?? []) parseDeviceRule(text);
}

/** `c 1:3 rwm`, `a *:* m`; numbers or `*`. */
export function parseDeviceRule(text: string): DeviceRule {
  const [, type, major, minor, access] = /^([acb]) ([0-9]{1,10}|\*):([0-9]{1,10}|\*) ([rwm]{1,3})$/.exec(text) ?? [];
  if (type === undefined || access === undefined) {
    throw invalid(`invalid device cgroup rule format: '${text.slice(0, 128)}'`);
  }
  return {
    allow: true,
    type: type as "a" | "b" | "c",
    ...(major === "*" ? {} : { major: Number(major) }),
    ...(minor === "*" ? {} : { minor: Number(minor) }),
    access,
  };
}

function clean(path: string): string {
  const normal = posix.normalize(path);
  return normal.length > 1 && normal.endsWith("/") ? normal.slice(0, -1) : normal;
}

type DeviceNode = HostNode & { type: "c" | "b" };

/** The device at `path`, or all in the directory there and below. */
function devicesBelow(top: string, files: HostFiles): [string, DeviceNode][] {
  const found: [string, DeviceNode][] = [];
  const pending = [top];
  for (let seen = 0; pending.length > 0; seen++) {
    if (seen > MAX_NODES) throw invalid(`more than ${MAX_NODES} files below ${top}: not a directory of devices`);
    const path = pending.shift() as string;
    const node = files.stat(path);
    if (node?.type === "c" || node?.type === "b") found.push([path, node as DeviceNode]);
    else if (node?.type === "directory") pending.push(...files.list(path).map((name) => posix.join(path, name)));
  }
  return found;
}

function device(path: string, node: DeviceNode): Device {
  const { type, major, minor, mode, uid, gid } = node;
  return { path, type, major, minor, fileMode: mode & 0o777, uid, gid };
}
