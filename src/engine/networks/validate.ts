import { conflict, InroError, invalid, notFound } from "../../base/errors.ts";
import {
  contains,
  formatAddress,
  formatSubnet,
  type IpFamily,
  parseAddress,
  parseSubnet,
  type Subnet,
} from "../../network/address.ts";
import type { NetworkCreateRequest } from "../../spec/docker-api.ts";
import { boolean, type Check, list, longText, map, object, text } from "../config/fields.ts";
import { checkInterfaceName } from "./endpoint-settings.ts";
import type { DriverName, IpamConfig, NetworkRecord } from "./records.ts";

const ipam: Check<Partial<IpamConfig>> = object<IpamConfig>({
  Subnet: text,
  IPRange: text,
  Gateway: text,
  AuxiliaryAddresses: map(text),
});

const request = object<NetworkCreateRequest>({
  Name: text,
  Driver: text,
  Scope: text,
  Internal: boolean,
  Attachable: boolean,
  Ingress: boolean,
  ConfigOnly: boolean,
  ConfigFrom: object({ Network: text }),
  IPAM: object({ Driver: text, Config: list(ipam), Options: map(text) }),
  EnableIPv4: boolean,
  EnableIPv6: boolean,
  Options: map(text),
  Labels: map(longText),
});

export const PREDEFINED: Record<string, DriverName> = { bridge: "bridge", host: "host", none: "null" };
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
const MAX_NAME = 255;

export const BRIDGE_NAME = "com.docker.network.bridge.name";
export const MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade";
export const ICC = "com.docker.network.bridge.enable_icc";
/** Containers may send what is not theirs: routers, and those with addresses that move. */
export const SPOOFING = "inro.network.bridge.allow_spoofing";
export const HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4";
export const MTU = "com.docker.network.driver.mtu";
export const PREFIX = "com.docker.network.container_iface_prefix";
export const INHIBIT_V4 = "com.docker.network.bridge.inhibit_ipv4";
export const GATEWAY_MODE: Record<IpFamily, string> = {
  4: "com.docker.network.bridge.gateway_mode_ipv4",
  6: "com.docker.network.bridge.gateway_mode_ipv6",
};
const GATEWAY_MODES = ["nat", "nat-unprotected", "routed", "isolated"] as const;
export type GatewayMode = (typeof GATEWAY_MODES)[number];
const DEFAULT_BRIDGE = "com.docker.network.bridge.default_bridge";

/** The record of a network that is asked for: checked, with the settings of another where `ConfigFrom` names one. */
export function networkDraft(
  body: unknown,
  settingsOf: (name: string) => NetworkRecord,
): Omit<NetworkRecord, "id" | "created"> {
  const given = request(body, "");
  const name = given.Name ?? "";
  if (name.trim() === "") throw invalid("network name is required");
  if (!NAME.test(name) || name.length > MAX_NAME) {
    throw invalid(
      `invalid network name ${JSON.stringify(name.slice(0, 100))}: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
    );
  }
  if (Object.hasOwn(PREDEFINED, name) || name === "default" || name === "container") {
    throw new InroError("forbidden", `operation is not permitted on predefined ${name} network`);
  }
  if (given.Ingress) throw invalid("ingress networks are for a swarm, which inro has not");
  if (given.Scope && given.Scope !== "local") throw invalid(`network scope ${given.Scope} is for a swarm, use local`);
  const driver = driverOf(given.Driver || "bridge");
  const { Driver: ipamDriver = "", Options: ipamOptions = null, Config = [] } = given.IPAM ?? {};
  if (ipamDriver !== "" && ipamDriver !== "default")
    throw notFound(`IPAM driver ${JSON.stringify(ipamDriver)} not found`);
  let draft: Omit<NetworkRecord, "id" | "created"> = {
    name,
    driver,
    internal: given.Internal ?? false,
    attachable: given.Attachable ?? false,
    ipv4: given.EnableIPv4 ?? true,
    ipv6: given.EnableIPv6 ?? false,
    ipam: { Driver: "default", Options: ipamOptions, Config: (Config ?? []).map((one) => ({ ...one })) },
    chosen: (Config ?? []).length > 0,
    options: given.Options ?? {},
    labels: given.Labels ?? {},
    ...(given.ConfigOnly ? { configOnly: true } : {}),
  };
  const from = given.ConfigFrom?.Network;
  if (from) draft = takeSettings(draft, settingsOf(from));
  checkOptions(driver, draft.options);
  checkIpam(draft);
  return draft;
}

function driverOf(name: string): DriverName {
  if (name === "bridge" || name === "macvlan" || name === "ipvlan") return name;
  if (name === "host" || name === "null") {
    throw new InroError("forbidden", `only one instance of "${name}" network is allowed`);
  }
  throw notFound(`could not find network driver ${JSON.stringify(name.slice(0, 64))}: plugin not found`);
}

function takeSettings(draft: Omit<NetworkRecord, "id" | "created">, from: NetworkRecord) {
  if (!from.configOnly)
    throw invalid(`network ${from.name} is not a configuration network: make it with --config-only`);
  if (draft.configOnly) throw invalid("a network cannot be config-only and take its configuration from another");
  if (draft.chosen || Object.keys(draft.options).length > 0) {
    throw invalid("user specified configurations are not supported if the network depends on a configuration network");
  }
  const { ipv4, ipv6, ipam: taken, chosen, options, internal } = from;
  return {
    ...draft,
    ipv4,
    ipv6,
    ipam: taken,
    chosen,
    options,
    internal: draft.internal || internal,
    configFrom: from.name,
  };
}

const BOOLEANS = [MASQUERADE, ICC, SPOOFING, INHIBIT_V4, DEFAULT_BRIDGE];

function checkOptions(driver: DriverName, options: Record<string, string>): void {
  for (const [name, value] of Object.entries(options)) {
    const bad = (hint: string) =>
      invalid(`invalid value ${JSON.stringify(value.slice(0, 64))} of network option ${name}: ${hint}`);
    if (name === MTU || name === "mtu") {
      if (!/^\d{1,5}$/.test(value) || Number(value) < 68 || Number(value) > 65535) throw bad("expected 68 to 65535");
    } else if (name === PREFIX) checkInterfaceName(`${value}0`, "interface prefix");
    else if (driver === "bridge" && name === BRIDGE_NAME) checkInterfaceName(value, "bridge name");
    else if (driver === "bridge" && BOOLEANS.includes(name)) {
      if (!/^(1|t|true|0|f|false)$/i.test(value)) throw bad("expected true or false");
    } else if (driver === "bridge" && name === HOST_BINDING) {
      if (parseAddress(value)?.family !== 4) throw bad("expected an IPv4 address");
    } else if (driver === "bridge" && (name === GATEWAY_MODE[4] || name === GATEWAY_MODE[6])) {
      if (!GATEWAY_MODES.includes(value as GatewayMode)) throw bad(`expected ${GATEWAY_MODES.join(", ")}`);
    } else if (driver !== "bridge" && name === "parent") checkInterfaceName(value, "parent interface");
    else if (driver === "macvlan" && name === "macvlan_mode") {
      if (!Object.hasOwn(MACVLAN_MODES, value)) throw bad(`expected ${Object.keys(MACVLAN_MODES).join(", ")}`);
    } else if (driver === "ipvlan" && name === "ipvlan_mode") {
      if (!Object.hasOwn(IPVLAN_MODES, value)) throw bad(`expected ${Object.keys(IPVLAN_MODES).join(", ")}`);
    } else if (driver === "ipvlan" && name === "ipvlan_flag") {
      if (!Object.hasOwn(IPVLAN_FLAGS, value)) throw bad(`expected ${Object.keys(IPVLAN_FLAGS).join(", ")}`);
    } else throw invalid(`unknown option ${JSON.stringify(name.slice(0, 128))} of network driver ${driver}`);
  }
}

/** linux/if_link.h */
export const MACVLAN_MODES: Record<string, number> = { private: 1, vepa: 2, bridge: 4, passthru: 8 };
export const IPVLAN_MODES: Record<string, number> = { l2: 0, l3: 1, l3s: 2 };
export const IPVLAN_FLAGS: Record<string, number> = { bridge: 0, private: 1, vepa: 2 };

export function isOn(options: Record<string, string>, name: string, missing: boolean): boolean {
  const value = options[name];
  return value === undefined ? missing : /^(1|t|true)$/i.test(value);
}

export function gatewayMode(network: Pick<NetworkRecord, "options">, family: IpFamily): GatewayMode {
  return (network.options[GATEWAY_MODE[family]] as GatewayMode | undefined) ?? "nat";
}

export function mtuOf({ options }: Pick<NetworkRecord, "options">): number | undefined {
  const value = options[MTU] ?? options.mtu;
  return value === undefined ? undefined : Number(value);
}

function checkIpam(draft: Omit<NetworkRecord, "id" | "created">): void {
  const {
    ipv4,
    ipv6,
    ipam: { Config },
  } = draft;
  if (!ipv4 && !ipv6) throw invalid("IPv4 or IPv6 must be enabled");
  const seen: Subnet[] = [];
  for (const entry of Config) {
    if (!entry.Subnet) {
      if (entry.IPRange || entry.Gateway)
        throw invalid("invalid network config: an IP range or a gateway needs a subnet");
      continue;
    }
    const subnet = parseSubnet(entry.Subnet);
    if (!subnet)
      throw invalid(
        `invalid network config: invalid subnet ${JSON.stringify(entry.Subnet.slice(0, 64))}: expected ADDRESS/BITS`,
      );
    if (formatSubnet(subnet) !== entry.Subnet.toLowerCase() && subnet.family === 4) {
      throw invalid(`invalid network config: invalid subnet ${entry.Subnet}: it should be ${formatSubnet(subnet)}`);
    }
    entry.Subnet = formatSubnet(subnet);
    if (subnet.family === 6 ? !ipv6 : !ipv4) {
      throw invalid(`invalid network config: subnet ${entry.Subnet}, but IPv${subnet.family} is not enabled`);
    }
    if (seen.some(({ family }) => family === subnet.family)) {
      throw invalid(`invalid network config: a network has one subnet of IPv${subnet.family}`);
    }
    seen.push(subnet);
    checkEntry(entry, subnet);
  }
}

function checkEntry(entry: IpamConfig, subnet: Subnet): void {
  const inside = (value: string, what: string) => {
    const address = parseAddress(value);
    if (!address) throw invalid(`invalid network config: invalid ${what} ${JSON.stringify(value.slice(0, 64))}`);
    if (!contains(subnet, address)) throw invalid(`invalid network config: no matching subnet for ${what} ${value}`);
    return formatAddress(address);
  };
  if (entry.Gateway) entry.Gateway = inside(entry.Gateway, "gateway");
  for (const [name, value] of Object.entries(entry.AuxiliaryAddresses ?? {}))
    inside(value, `auxiliary address ${name}`);
  if (entry.IPRange) {
    const range = parseSubnet(entry.IPRange);
    if (
      !range ||
      range.family !== subnet.family ||
      range.prefix < subnet.prefix ||
      !contains(subnet, { family: range.family, value: range.base })
    ) {
      throw invalid(
        `invalid network config: IP range ${JSON.stringify(entry.IPRange.slice(0, 64))} is not in subnet ${entry.Subnet}`,
      );
    }
  }
}

export const exists = (name: string) => conflict(`network with name ${name} already exists`);
