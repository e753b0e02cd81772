import { invalid, notImplemented } from "../../base/errors.ts";
import type { HostConfig } from "../../spec/docker-api.ts";

/**
 * What a client may ask for and inro does not do yet is refused with 501, never silently left out. The zero values
 * that the docker CLI always sends are no request.
 */
type Fields = Record<string, unknown>;

const empty = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === "" ||
  value === 0 ||
  value === false ||
  (Array.isArray(value) && value.length === 0) ||
  (typeof value === "object" && Object.keys(value).length === 0);

const HOST_FIELDS: Record<string, string> = {
  Cgroup: "joining the cgroup of another container is not supported",
};

/** The HostConfig as it came. Throws notImplemented. */
export function refuseUnsupported(host: Fields): void {
  for (const [name, sentence] of Object.entries(HOST_FIELDS)) {
    if (!empty(host[name])) throw notImplemented(sentence);
  }
  if (Array.isArray(host.Mounts)) for (const mount of host.Mounts) refuseMount(mount);
}

function refuseMount(mount: unknown): void {
  if (typeof mount !== "object" || mount === null) return;
  const { Type, ClusterOptions } = mount as Fields;
  if (Type === "cluster" || Type === "npipe" || !empty(ClusterOptions)) {
    throw notImplemented(`mounts of type ${Type} are not supported`);
  }
}

/** Ports that nothing can come of, of which docker warns. */
export function discardedPorts(host: HostConfig, mode: string): string[] {
  const published = host.PublishAllPorts || Object.values(host.PortBindings ?? {}).some((value) => !empty(value));
  if (!published || (mode !== "host" && mode !== "none")) return [];
  return [`published ports are discarded when using ${mode} network mode`];
}

/** Runtime: there is one; docker's default name stands for it too. */
export function refuseRuntime({ Runtime: name = "" }: HostConfig): string[] {
  if (name === "" || name === "inro") return [];
  if (name === "runc" || name === "io.containerd.runc.v2") return [`runtime ${name} is inro's own`];
  throw invalid(`unknown or invalid runtime name: ${name.slice(0, 64)}`);
}
