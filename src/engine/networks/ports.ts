import { invalid } from "../../base/errors.ts";
import { parseAddress } from "../../network/address.ts";
import type { Protocol } from "../../network/firewall.ts";
import type { ContainerConfig, HostConfig } from "../../spec/docker-api.ts";

/** A port that is to be published: `hostPorts` are alternatives, none means any that is free. */
export interface PortRequest {
  protocol: Protocol;
  port: number;
  /** "" is every address. */
  hostAddress: string;
  hostPorts: [first: number, last: number] | undefined;
}

const MAX_PORTS = 10_000;

/** `80`, `80/tcp`, `8000-8010/udp`; undefined if it is none. */
export function parsePorts(text: string): { first: number; last: number; protocol: Protocol } | undefined {
  const match = /^([0-9]{1,5})(?:-([0-9]{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(text);
  if (!match) return undefined;
  const [, low, high = low, protocol = "tcp"] = match;
  const [first, last] = [Number(low), Number(high)];
  if (first > last || last > 65535) return undefined;
  return { first, last, protocol: protocol.toLowerCase() as Protocol };
}

/** What PortBindings and PublishAllPorts ask for. Throws invalid. */
export function portRequests(config: ContainerConfig, host: HostConfig): PortRequest[] {
  const requests: PortRequest[] = [];
  for (const [key, bindings] of Object.entries(host.PortBindings ?? {})) {
    const ports = parsePorts(key);
    if (!ports || ports.first === 0) throw invalid(`invalid port specification: ${JSON.stringify(key.slice(0, 64))}`);
    for (const binding of bindings ?? []) {
      const { HostIp: hostAddress = "", HostPort: hostPort = "" } = binding ?? {};
      checkHostAddress(hostAddress);
      const range = hostRange(hostPort, key);
      for (let port = ports.first; port <= ports.last; port++) {
        // A range for a range is one for one; a range for one port is a choice.
        const one = range && ports.last > ports.first ? offset(range, port - ports.first, key) : range;
        requests.push({ protocol: ports.protocol, port, hostAddress, hostPorts: one });
      }
    }
    // Docker takes an empty list as one binding that leaves everything open.
    if (bindings?.length === 0) {
      for (let port = ports.first; port <= ports.last; port++) {
        requests.push({ protocol: ports.protocol, port, hostAddress: "", hostPorts: undefined });
      }
    }
  }
  if (host.PublishAllPorts) {
    for (const { port, protocol } of exposedPorts(config)) {
      if (requests.some((one) => one.port === port && one.protocol === protocol)) continue;
      requests.push({ protocol, port, hostAddress: "", hostPorts: undefined });
    }
  }
  if (requests.length > MAX_PORTS) throw invalid(`more than ${MAX_PORTS} published ports`);
  return requests;
}

/** Each port of ExposedPorts, once: of `80` and `80/tcp` one may come from the image and one from the client. */
export function exposedPorts(config: ContainerConfig): { port: number; protocol: Protocol }[] {
  const all = new Map<string, { port: number; protocol: Protocol }>();
  for (const key of Object.keys(config.ExposedPorts ?? {})) {
    const { first, last, protocol } = parsePorts(key) ?? { first: 1, last: 0, protocol: "tcp" };
    for (let port = first; port <= last; port++) all.set(`${port}/${protocol}`, { port, protocol });
  }
  return [...all.values()];
}

function checkHostAddress(text: string): void {
  if (text === "" || parseAddress(text)) return;
  throw invalid(`invalid IP address for a published port: ${JSON.stringify(text.slice(0, 64))}`);
}

function hostRange(text: string, key: string): [number, number] | undefined {
  if (text === "" || text === "0") return undefined;
  const range = /^[0-9]+(-[0-9]+)?$/.test(text) ? parsePorts(text) : undefined;
  if (!range || range.first === 0) {
    throw invalid(`invalid port specification: ${JSON.stringify(`${text.slice(0, 64)}:${key.slice(0, 64)}`)}`);
  }
  return [range.first, range.last];
}

function offset([first, last]: [number, number], by: number, key: string): [number, number] {
  if (first + by > last) throw invalid(`invalid ranges specified for container and host ports: ${key.slice(0, 64)}`);
  return [first + by, first + by];
}
