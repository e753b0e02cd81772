import { isIP } from "node:net";
import { invalid } from "../../base/errors.ts";
import type { ContainerConfig, HostConfig } from "../../spec/docker-api.ts";
import type { HostFacts } from "./host-facts.ts";
import { networkMode } from "./modes.ts";

// What may stand in /etc/hosts and /etc/hostname without ending a line or a field.
const HOST_NAME = /^[a-zA-Z0-9_]([a-zA-Z0-9_.-]*[a-zA-Z0-9_])?$/;
/** __NEW_UTS_LEN, sethostname(2). */
const MAX_NAME = 64;

/** Hostname, Domainname and ExtraHosts; they end in files of the container, line by line. Throws invalid. */
export function checkHostNames(config: ContainerConfig, host: HostConfig): void {
  for (const [what, name] of [
    ["hostname", config.Hostname],
    ["domainname", config.Domainname],
  ] as const) {
    if (name && (name.length > MAX_NAME || !HOST_NAME.test(name))) {
      throw invalid(`invalid ${what} format: ${JSON.stringify(name.slice(0, 128))}`);
    }
  }
  for (const entry of host.ExtraHosts ?? []) parseExtraHost(entry);
}

/** Stands for the address by which a container reaches the host. */
export const HOST_GATEWAY = "host-gateway";

/** Dns, DnsSearch and DnsOptions; they end in resolv.conf, line by line. Throws invalid. */
export function checkDns(host: HostConfig): void {
  for (const address of host.Dns ?? []) {
    if (isIP(address) === 0) throw invalid(`invalid DNS server address: ${JSON.stringify(address.slice(0, 128))}`);
  }
  for (const domain of host.DnsSearch ?? []) {
    const ok = domain === "." || (domain.length <= 253 && HOST_NAME.test(domain.replace(/\.$/, "")));
    if (!ok) throw invalid(`invalid DNS search domain: ${JSON.stringify(domain.slice(0, 128))}`);
  }
  for (const option of host.DnsOptions ?? []) {
    if (!/^[a-zA-Z0-9_:.-]{1,128}$/.test(option)) {
      throw invalid(`invalid DNS option: ${JSON.stringify(option.slice(0, 128))}`);
    }
  }
}

/** `name:address` or `name=address`, IPv6 with or without brackets. Throws invalid. */
export function parseExtraHost(entry: string): { name: string; address: string } {
  const at = entry.search(/[=:]/);
  const name = entry.slice(0, Math.max(at, 0));
  const address = entry.slice(at + 1).replace(/^\[(.*)\]$/, "$1");
  const shown = JSON.stringify(entry.slice(0, 128));
  if (name.length > 253 || !HOST_NAME.test(name)) throw invalid(`bad format for add-host: ${shown}`);
  if (address === HOST_GATEWAY) return { name, address };
  // A zone (fe80::1%eth0) is text that isIP does not check.
  if (isIP(address) === 0 || address.includes("%")) throw invalid(`invalid IP address in add-host: ${shown}`);
  return { name, address };
}

/** The name a container has: its own, the host's where it shares network or UTS namespace, else from its id. */
export function hostnameOf(id: string, config: ContainerConfig, host: HostConfig, facts: HostFacts): string {
  if (config.Hostname) return config.Hostname;
  const shared = host.UTSMode === "host" || networkMode(host.NetworkMode) === "host";
  return shared ? facts.hostname : id.slice(0, 12);
}
