import { splitCsv } from "../../base/csv.ts";
import { ExitError } from "../command.ts";
import { type Options, parseInteger } from "../flags.ts";
import { toMap } from "./environment.ts";
import { isIP, type PortBinding, parsePorts } from "./ports.ts";

/** One --network, and how the container is seen in it. */
export interface NetworkOption {
  name: string;
  aliases: string[];
  links: string[];
  driverOpts: string[];
  linkLocalIps: string[];
  ip: string;
  ip6: string;
  mac: string;
  priority: number;
}

/** The API's EndpointSettings, as far as a request has them. */
interface Endpoint {
  Aliases?: string[];
  Links?: string[];
  DriverOpts?: Record<string, string>;
  IPAMConfig?: { IPv4Address?: string; IPv6Address?: string; LinkLocalIPs?: string[] };
  MacAddress?: string;
  GwPriority?: number;
}

/** What the options say of the network, at its places in the body of POST /containers/create. */
export interface Networking {
  config: { ExposedPorts?: Record<string, object> };
  host: {
    NetworkMode?: string;
    PortBindings?: Record<string, PortBinding[]>;
    PublishAllPorts?: boolean;
    Dns?: string[];
    DnsOptions?: string[];
    DnsSearch?: string[];
    Links?: string[];
  };
  endpoints: Record<string, Endpoint>;
}

const fail = (message: string): never => {
  throw new ExitError(125, message);
};

/** Docker's own networks; a container in one has no name there and chooses no address. */
const isUserDefined = (name: string) => !/^(|default|bridge|host|none|container:.*)$/.test(name);

/** `NAME`, or `name=NAME,alias=A,ip=…,driver-opt=K=V`. Throws with what is wrong. */
export function parseNetwork(text: string): NetworkOption {
  const one: NetworkOption = {
    ...{ name: text, aliases: [], links: [], driverOpts: [], linkLocalIps: [] },
    ...{ ip: "", ip6: "", mac: "", priority: 0 },
  };
  if (!/^\w+=\S/.test(text)) return one;
  one.name = "";
  for (const field of splitCsv(text)) {
    const equals = field.indexOf("=");
    if (equals < 1) throw new Error(`invalid field ${field}`);
    const key = field.slice(0, equals).trim().toLowerCase();
    const value = field.slice(equals + 1).trim();
    if (key === "name") one.name = value;
    else if (key === "alias") one.aliases.push(value.toLowerCase());
    else if (key === "driver-opt") {
      if (!value.includes("=")) throw new Error("invalid key value pair format in driver options");
      one.driverOpts.push(value.toLowerCase());
    } else if (key === "ip") one.ip = value;
    else if (key === "ip6") one.ip6 = value;
    else if (key === "mac-address") one.mac = value;
    else if (key === "link-local-ip") one.linkLocalIps.push(value);
    else if (key === "gw-priority") one.priority = priority(value);
    else throw new Error(`invalid field key ${key}`);
  }
  if (one.name === "") throw new Error("network name/id is not specified");
  return one;
}

function priority(text: string): number {
  try {
    return parseInteger(text);
  } catch {
    throw new Error(`invalid gw-priority (${text}): invalid syntax`);
  }
}

/** Checks an address of --dns. */
export function parseAddress(text: string): string {
  const address = text.trim();
  if (!isIP(address.replace(/%.*$/, ""))) throw new Error(`IP address is not correctly formatted: ${text}`);
  return address;
}

/** Checks a domain of --dns-search; "." is none. */
export function parseDomain(text: string): string {
  const domain = text.trim().replace(/^\.+(?=.)|(?<=.)\.+$/g, "");
  if (domain === ".") return domain;
  const label = "[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?";
  if (domain.length > 255 || !new RegExp(`^${label}(\\.${label})*$`).test(domain) || !/[a-zA-Z]/.test(domain)) {
    throw new Error(`${text} is not a valid domain`);
  }
  return domain;
}

/** Checks `CONTAINER[:ALIAS]` of --link. */
export function parseLink(text: string): string {
  if (text === "") throw new Error("empty string specified for links");
  if (text.split(":").length > 2) throw new Error(`bad format for links: ${text}`);
  return text;
}

/** Checks `NAME:ADDRESS` or `NAME=ADDRESS` of --add-host; gives the form with a colon. */
export function parseHost(text: string): string {
  const [, name, given] = /^([^:=]+)[:=](.*)$/.exec(text) ?? [];
  if (name === undefined) throw new Error(`bad format for add-host: ${JSON.stringify(text)}`);
  const address = given!.replace(/^\[(.*)\]$/, "$1");
  if (address !== "host-gateway" && !isIP(address)) {
    throw new Error(`invalid IP address in add-host: ${JSON.stringify(address)}`);
  }
  return `${name}:${address}`;
}

/** Gathers every option about the network. What contradicts itself is an ExitError 125 with docker's words. */
export function networking(options: Options): Networking {
  const networks = options.list<NetworkOption>("network");
  const result: Networking = { config: {}, host: {}, endpoints: endpoints(options, networks) };
  const { config, host } = result;
  if (networks[0]) host.NetworkMode = networks[0].name;
  if (options.has("publish") || options.has("expose")) {
    const { exposed, bindings } = parsePorts(options.list("publish"), options.list("expose"));
    config.ExposedPorts = exposed;
    if (Object.keys(bindings).length > 0) host.PortBindings = bindings;
  }
  if (options.bool("publish-all")) host.PublishAllPorts = true;
  if (options.has("dns")) host.Dns = options.list("dns");
  if (options.has("dns-option")) host.DnsOptions = options.list("dns-option");
  if (options.has("dns-search")) host.DnsSearch = options.list("dns-search");
  if (options.has("link")) host.Links = options.list("link");
  return result;
}

/** The endpoints of the networks; the flags without a network's name belong to the first one. */
function endpoints(options: Options, networks: readonly NetworkOption[]): Record<string, Endpoint> {
  const result: Record<string, Endpoint> = {};
  const all = networks.length > 0 ? networks : [parseNetwork("default")];
  all.forEach((given, i) => {
    const one = i === 0 ? withFlags(given, options) : given;
    const endpoint = endpointOf(one);
    if (Object.hasOwn(result, one.name)) fail(`network ${JSON.stringify(one.name)} is specified multiple times`);
    // A single network without a word more about it is the network mode alone.
    if (all.length > 1 || Object.keys(endpoint).length > 0) result[one.name] = endpoint;
  });
  if (networks.some(({ name }) => isUserDefined(name)) && networks.some(({ name }) => !isUserDefined(name))) {
    fail("conflicting options: cannot attach both user-defined and non-user-defined network-modes");
  }
  return result;
}

function withFlags(given: NetworkOption, options: Options): NetworkOption {
  const both = (flag: string, what: string) =>
    fail(`conflicting options: cannot specify both --${flag} and per-network ${what}`);
  const list = (flag: string, own: string[], what: string) => {
    if (own.length > 0 && options.has(flag)) both(flag, what);
    return options.has(flag) ? options.list(flag) : own;
  };
  const text = (flag: string, own: string, what: string) => {
    if (own !== "" && options.string(flag) !== "") both(flag, what);
    return options.string(flag) || own;
  };
  return {
    ...given,
    aliases: list("network-alias", given.aliases, "alias"),
    // In docker's bridge a link is the container's own affair.
    links: isUserDefined(given.name) ? options.list("link") : [],
    linkLocalIps: list("link-local-ip", given.linkLocalIps, "link-local IP addresses"),
    ip: text("ip", given.ip, "IPv4 address"),
    ip6: text("ip6", given.ip6, "IPv6 address"),
    mac: text("mac-address", given.mac, "MAC address"),
  };
}

function endpointOf(one: NetworkOption): Endpoint {
  if (one.name.trim() === "") fail("no name set for network");
  if (!isUserDefined(one.name)) {
    if (one.aliases.length > 0) fail("network-scoped aliases are only supported for user-defined networks");
    if (one.links.length > 0) fail("links are only supported for user-defined networks");
  }
  const endpoint: Endpoint = {};
  if (one.aliases.length > 0) endpoint.Aliases = one.aliases;
  if (one.links.length > 0) endpoint.Links = one.links;
  if (one.driverOpts.length > 0) endpoint.DriverOpts = toMap(one.driverOpts);
  if (one.ip !== "" || one.ip6 !== "" || one.linkLocalIps.length > 0) {
    endpoint.IPAMConfig = {
      ...(one.ip ? { IPv4Address: one.ip } : {}),
      ...(one.ip6 ? { IPv6Address: one.ip6 } : {}),
      ...(one.linkLocalIps.length > 0 ? { LinkLocalIPs: one.linkLocalIps } : {}),
    };
  }
  if (one.mac !== "") {
    if (!/^([0-9a-f]{2}[:-]){5}([0-9a-f]{2}[:-][0-9a-f]{2}[:-])?[0-9a-f]{2}$/i.test(one.mac.trim())) {
      fail(`${one.mac} is not a valid mac address`);
    }
    endpoint.MacAddress = one.mac;
  }
  if (one.priority !== 0) endpoint.GwPriority = one.priority;
  return endpoint;
}
