import type { Protocol } from "../../network/firewall.ts";

/** What the store keeps of networks, and of containers in them. Addresses are text, as the API has them. */

export type DriverName = "bridge" | "host" | "null" | "macvlan" | "ipvlan";

export interface IpamConfig {
  Subnet?: string;
  IPRange?: string;
  Gateway?: string;
  AuxiliaryAddresses?: Record<string, string>;
}

export interface NetworkRecord {
  id: string;
  name: string;
  /** RFC 3339. */
  created: string;
  driver: DriverName;
  internal: boolean;
  attachable: boolean;
  ipv4: boolean;
  ipv6: boolean;
  ipam: { Driver: string; Options: Record<string, string> | null; Config: IpamConfig[] };
  /** The subnets are the user's choice, so that he may choose addresses in them too. */
  chosen: boolean;
  options: Record<string, string>;
  labels: Record<string, string>;
  /** Only there for others to take its settings from. */
  configOnly?: boolean;
  configFrom?: string;
  /** Of driver bridge: the interface's name. */
  bridge?: string;
}

/** What a container asks of a network that it is to be in. */
export interface EndpointConfig {
  ipv4?: string;
  ipv6?: string;
  linkLocal?: string[];
  mac?: string;
  aliases?: string[];
  links?: string[];
  driverOpts?: Record<string, string>;
  gwPriority?: number;
}

/** What it has there in its present run. */
export interface EndpointState {
  id: string;
  /** Id of the network. */
  network: string;
  /** In the container: `eth0`. */
  interface: string;
  /** On the host. */
  hostInterface?: string;
  mac: string;
  ipv4?: string;
  ipv6?: string;
}

/** A port of the host that leads to one of the container. */
export interface PortState {
  protocol: Protocol;
  port: number;
  /** "" is every address. */
  hostAddress: string;
  hostPort: number;
}

/** Of a run: written before any of it is made. */
export interface RunNetwork {
  endpoints: EndpointState[];
  ports: PortState[];
}
