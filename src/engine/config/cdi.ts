import { readdirSync, readFileSync, statSync } from "node:fs";
import { posix } from "node:path";
import { invalid, notImplemented } from "../../base/errors.ts";
import type { ContainerConfig, DeviceMapping, DeviceRequest, HostConfig } from "../../spec/docker-api.ts";
import type { Mount } from "../../spec/oci-runtime.ts";
import { integer, list, object, text } from "./fields.ts";

/**
 * Devices by name: the machine's administrator, or a vendor's tool, describes in files what a container needs to use them
 * (Container Device Interface specification, version 1.0).
 */

/** Where they are; later ones win. */
export const CDI_DIRECTORIES = ["/etc/cdi", "/var/run/cdi"] as const;

const LARGEST_FILE = 4 << 20;

interface Edits {
  env?: string[];
  deviceNodes?: { path?: string; hostPath?: string; permissions?: string }[];
  mounts?: { hostPath?: string; containerPath?: string; options?: string[] }[];
  additionalGids?: number[];
  /** What cannot be done here, such as hooks. */
  hooks?: unknown[];
  netDevices?: unknown[];
  intelRdt?: object;
}

const anything = (value: unknown) => value as never;

const edits = object<Edits>({
  env: list(text),
  deviceNodes: list(object({ path: text, hostPath: text, permissions: text })),
  mounts: list(object({ hostPath: text, containerPath: text, options: list(text) })),
  additionalGids: list(integer),
  hooks: list(anything),
  netDevices: list(anything),
  intelRdt: anything,
});

interface SpecFile {
  kind?: string;
  containerEdits?: Edits;
  devices?: { name?: string; containerEdits?: Edits }[];
}

const specFile = object<SpecFile>({
  kind: text,
  containerEdits: edits,
  devices: list(object({ name: text, containerEdits: edits })),
});

/** Names of all devices, `vendor/class=name`; what a broken file describes is left out. */
export function cdiDevices(directories: readonly string[] = CDI_DIRECTORIES): string[] {
  return [...known(directories).keys()].sort();
}

/** By name: the edits of the whole file, then of the device. */
function known(directories: readonly string[]): Map<string, Edits[]> {
  const devices = new Map<string, Edits[]>();
  for (const path of directories.flatMap(filesIn)) {
    let file: SpecFile;
    try {
      if (statSync(path).size > LARGEST_FILE) continue;
      const content = readFileSync(path, "utf8");
      file = specFile(path.endsWith(".json") ? JSON.parse(content) : Bun.YAML.parse(content), "");
    } catch {
      // The tool that writes it may be at it; a device that is asked for is missed then.
      continue;
    }
    for (const { name, containerEdits = {} } of file.devices ?? []) {
      devices.set(`${file.kind}=${name}`, [file.containerEdits ?? {}, containerEdits]);
    }
  }
  return devices;
}

function filesIn(directory: string): string[] {
  try {
    const names = readdirSync(directory).filter((name) => /\.(json|ya?ml)$/.test(name));
    return names.sort().map((name) => `${directory}/${name}`);
  } catch {
    return [];
  }
}

/** What a container's DeviceRequests make of its configuration; as it was where there are none. */
export interface Injected {
  config: ContainerConfig;
  host: HostConfig;
  mounts: Mount[];
}

/**
 * Adds what the requested devices need. Throws invalid for a device that nobody describes or a driver that is not there,
 * and notImplemented for one that needs hooks.
 */
export function injectDevices(
  config: ContainerConfig,
  host: HostConfig,
  directories: readonly string[] = CDI_DIRECTORIES,
): Injected {
  if (!host.DeviceRequests?.length) return { config, host, mounts: [] };
  const all = requested(host.DeviceRequests, directories);
  const devices = all.flatMap(({ deviceNodes = [] }) => deviceNodes.map(mapping));
  const gids = all.flatMap(({ additionalGids = [] }) => additionalGids.map(String));
  return {
    config: { ...config, Env: [...(config.Env ?? []), ...all.flatMap(({ env = [] }) => env)] },
    host: { ...host, Devices: [...(host.Devices ?? []), ...devices], GroupAdd: [...(host.GroupAdd ?? []), ...gids] },
    mounts: all.flatMap(({ mounts = [] }) => mounts.map(bind)),
  };
}

function requested(requests: readonly DeviceRequest[], directories: readonly string[]): Edits[] {
  const devices = known(directories);
  const found = new Map<string, Edits[]>();
  for (const { Driver, DeviceIDs, Capabilities } of requests) {
    if (Driver !== "cdi") {
      const wanted = (Capabilities ?? []).map((set) => `[${set.join(" ")}]`).join(" ");
      throw notImplemented(
        `could not select device driver ${JSON.stringify((Driver ?? "").slice(0, 64))} with capabilities: [${wanted.slice(0, 256)}]: only CDI's devices are supported`,
      );
    }
    for (const id of DeviceIDs ?? []) {
      const one = devices.get(id);
      if (!one) throw invalid(`CDI device injection failed: unresolvable CDI devices ${id.slice(0, 256)}`);
      const unable = one.find(({ hooks, netDevices, intelRdt }) => hooks?.length || netDevices?.length || intelRdt);
      if (unable) throw notImplemented(`CDI device ${id}: hooks, network devices and RDT are not supported yet`);
      found.set(id, one);
    }
  }
  // What a file says of all its devices is said once.
  return [...new Set([...found.values()].flat())];
}

function mapping({ path = "", hostPath, permissions }: NonNullable<Edits["deviceNodes"]>[number]): DeviceMapping {
  return { PathOnHost: hostPath || path, PathInContainer: path, CgroupPermissions: permissions || "rwm" };
}

function bind({ hostPath = "", containerPath = "", options = [] }: NonNullable<Edits["mounts"]>[number]): Mount {
  if (!posix.isAbsolute(hostPath) || !posix.isAbsolute(containerPath)) {
    throw invalid(`CDI mount of ${hostPath} on ${containerPath}: both must be absolute`);
  }
  return {
    destination: containerPath,
    type: "bind",
    source: hostPath,
    options: ["bind", ...options.filter((option) => option !== "bind")],
  };
}
