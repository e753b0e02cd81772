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
  DeviceRequests: "device requests (GPUs, CDI) are not supported yet",
  Dns: "own DNS servers are not supported yet",
  DnsOptions: "own DNS options are not supported yet",
  DnsSearch: "own DNS search domains are not supported yet",
  Links: "links between containers are not supported yet",
};

const CONFIG_FIELDS: Record<string, string> = {
  MacAddress: "own MAC addresses are not supported yet",
};

/** `body` and its HostConfig as they came. Throws notImplemented. */
export function refuseUnsupported(body: Fields, host: Fields): void {
  for (const [fields, known] of [
    [body, CONFIG_FIELDS],
    [host, HOST_FIELDS],
  ] as const) {
    for (const [name, sentence] of Object.entries(known)) {
      if (!empty(fields[name])) throw notImplemented(sentence);
    }
  }
  if (Array.isArray(host.Mounts)) for (const mount of host.Mounts) refuseMount(mount);
  refuseEndpoints(body.NetworkingConfig);
}

function refuseMount(mount: unknown): void {
  if (typeof mount !== "object" || mount === null) return;
  const { Type, ClusterOptions } = mount as Fields;
  if (Type === "cluster" || Type === "npipe" || !empty(ClusterOptions)) {
    throw notImplemented(`mounts of type ${Type} are not supported`);
  }
}

/** NetworkingConfig: one endpoint without settings is how the CLI repeats NetworkMode. */
function refuseEndpoints(networking: unknown): void {
  const endpoints = (networking as Fields | null | undefined)?.EndpointsConfig;
  if (empty(endpoints) || typeof endpoints !== "object") return;
  for (const [name, settings] of Object.entries(endpoints as Fields)) {
    if (!["default", "none", "host"].includes(name)) throw networkNotImplemented(name);
    if (empty(settings) || typeof settings !== "object") continue;
    for (const [field, value] of Object.entries(settings as Fields)) {
      if (field !== "NetworkID" && field !== "EndpointID" && !empty(value)) {
        throw notImplemented(`endpoint setting ${field} is not supported yet`);
      }
    }
  }
}

export const networkNotImplemented = (name: string) =>
  notImplemented(`network ${name} is not supported yet, use none, host or container:ID`);

/** Ports. With the host's network docker discards them and warns; elsewhere they need a bridge. */
export function publishedPorts(host: Fields, mode: string): string[] {
  const bindings = host.PortBindings;
  const none =
    empty(host.PublishAllPorts) &&
    (empty(bindings) || Object.values(bindings as Fields).every((value) => empty(value)));
  if (none) return [];
  if (mode === "host") return ["published ports are discarded when using host network mode"];
  throw notImplemented("published ports are not supported yet");
}

/** Runtime: there is one; docker's default name stands for it too. */
export function refuseRuntime({ Runtime: name = "" }: HostConfig): string[] {
  if (name === "" || name === "inro") return [];
  if (name === "runc" || name === "io.containerd.runc.v2") return [`runtime ${name} is inro's own`];
  throw invalid(`unknown or invalid runtime name: ${name.slice(0, 64)}`);
}
