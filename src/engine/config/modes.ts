import { invalid } from "../../base/errors.ts";
import type { ContainerConfig, HostConfig } from "../../spec/docker-api.ts";

/** The pseudo-image: the machine's own root under a private writable layer. */
export const HOST_IMAGE = "host";

/** Which namespace a container gets: its own, the host's, or that of another container. */
export type NamespaceMode = { kind: "private" } | { kind: "host" } | { kind: "container"; id: string };

export interface Modes {
  network: NamespaceMode;
  pid: NamespaceMode;
  ipc: NamespaceMode & { shm: boolean };
  uts: NamespaceMode;
  cgroup: NamespaceMode;
}

const PRIVATE: NamespaceMode = { kind: "private" };
const REFERENCE = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

function mode(value: string, what: string, own: readonly string[], joinable: boolean): NamespaceMode {
  if (value === "" || own.includes(value)) return PRIVATE;
  if (value === "host") return { kind: "host" };
  if (joinable && value.startsWith("container:")) {
    const id = value.slice("container:".length);
    if (!REFERENCE.test(id)) throw invalid(`invalid ${what} mode: ${value}: invalid container name or id`);
    return { kind: "container", id };
  }
  throw invalid(`invalid ${what} mode: ${value}`);
}

/** `NetworkMode` with its default resolved: `none`, `host`, `container:ID`, or a network's name or id. */
export function networkMode(value: string | undefined): string {
  return value === undefined || value === "" || value === "default" ? "bridge" : value;
}

/** Whether the container is to be in networks, rather than have none or somebody else's. */
export function hasNetworks(mode: string): boolean {
  return mode !== "none" && mode !== "host" && !mode.startsWith("container:");
}

/**
 * The modes of a HostConfig; an unknown one is invalid. A private cgroup namespace is the default on cgroup v1 too,
 * where docker shows a container the host's paths, except for a privileged one, which may manage v1 groups.
 */
export function namespaceModes(host: HostConfig, cgroup: "v1" | "v2" | "hybrid"): Modes {
  const cgroupns = host.CgroupnsMode || (host.Privileged && cgroup !== "v2" ? "host" : "private");
  const ipc = host.IpcMode ?? "";
  return {
    network: network(networkMode(host.NetworkMode)),
    pid: mode(host.PidMode ?? "", "PID", ["private"], true),
    ipc: { ...mode(ipc, "IPC", ["none", "private", "shareable"], true), shm: ipc !== "none" },
    uts: mode(host.UTSMode ?? "", "UTS", ["private"], false),
    cgroup: mode(cgroupns, "cgroup namespace", ["private"], false),
  };
}

function network(value: string): NamespaceMode {
  return hasNetworks(value) ? PRIVATE : mode(value, "network", ["none"], true);
}

/** Ids that a container's own user namespace gets: the whole 16-bit range unless the mode says how many. */
const DEFAULT_USERNS_SIZE = 65536;

/**
 * What `UsernsMode` asks for: undefined is no user namespace of its own ("" and "host"). `auto`, `private` and
 * `auto:size=N` (1024 to 2^24 ids) ask for one; the engine picks the range.
 */
export function usernsRequest(value: string | undefined): { size: number } | undefined {
  if (value === undefined || value === "" || value === "host") return undefined;
  if (value === "auto" || value === "private") return { size: DEFAULT_USERNS_SIZE };
  const [, size] = /^auto:size=([0-9]{1,9})$/.exec(value) ?? [];
  if (size === undefined) throw invalid(`invalid USER mode: ${value}`);
  if (Number(size) < 1024 || Number(size) > 2 ** 24) {
    throw invalid(`invalid USER mode: ${value}: the size must be from 1024 to ${2 ** 24}`);
  }
  return { size: Number(size) };
}

/** Modes and settings that exclude each other (docker's runconfig rules). */
export function checkModes(config: ContainerConfig, host: HostConfig, cgroup: "v1" | "v2" | "hybrid"): void {
  const modes = namespaceModes(host, cgroup);
  if (modes.network.kind === "container") {
    if (config.Hostname) throw invalid("conflicting options: hostname and the network mode");
    if (host.ExtraHosts?.length) throw invalid("conflicting options: custom host-to-IP mapping and the network mode");
    if (Object.keys(config.ExposedPorts ?? {}).length > 0) {
      throw invalid("conflicting options: port exposing and the container type network mode");
    }
    if (Object.keys(host.PortBindings ?? {}).length > 0 || host.PublishAllPorts) {
      throw invalid("conflicting options: port publishing and the container type network mode");
    }
    if (host.Links?.length) {
      throw invalid(
        "conflicting options: container type network can't be used with links. This would result in undefined behavior",
      );
    }
    if (host.Dns?.length || host.DnsSearch?.length || host.DnsOptions?.length) {
      throw invalid("conflicting options: dns and the network mode");
    }
    if (config.MacAddress) throw invalid("conflicting options: mac-address and the network mode");
  }
  if (modes.network.kind === "host" && host.Links?.length) {
    throw invalid(
      "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
    );
  }
  if (modes.uts.kind === "host") {
    if (config.Hostname) throw invalid("conflicting options: hostname and the UTS mode");
    if (config.Domainname) throw invalid("conflicting options: domainname and the UTS mode");
  }
  if (usernsRequest(host.UsernsMode) === undefined) return;
  if (host.Privileged) {
    throw invalid(
      "privileged mode is incompatible with user namespaces: run the container in the host's user namespace (userns host)",
    );
  }
  if (config.Image === HOST_IMAGE || config.Image === `${HOST_IMAGE}:latest`) {
    throw invalid("the image host is incompatible with user namespaces: its files belong to the host's users");
  }
  for (const [name, one] of Object.entries({
    network: modes.network,
    pid: modes.pid,
    ipc: modes.ipc,
    uts: modes.uts,
    cgroup: modes.cgroup,
  })) {
    if (one.kind === "private") continue;
    const whose = one.kind === "host" ? "the host's" : "another container's";
    throw invalid(`cannot share ${whose} ${name} namespace when user namespaces are enabled`);
  }
}
