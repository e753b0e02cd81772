import { type Attribute, decodeAttributes, encodeAttributes, readText, u32 } from "./attributes.ts";

/** Links and addresses of rtnetlink(7): pure. */

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;
export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
export const RTM_GETADDR = 22;

export const IFF_UP = 1;

export const IFLA_ADDRESS = 1;
export const IFLA_IFNAME = 3;
export const IFLA_MTU = 4;
export const IFLA_LINK = 5;
export const IFLA_MASTER = 10;
export const IFLA_LINKINFO = 18;
export const IFLA_IFALIAS = 20;
export const IFLA_AF_SPEC = 26;
export const IFLA_NET_NS_FD = 28;
export const IFA_ADDRESS = 1;
export const IFA_LOCAL = 2;
export const IFA_LABEL = 3;
export const IFA_BROADCAST = 4;
export const IFA_FLAGS = 8;

const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;

/** IFLA_LINKINFO of a link of this kind, with the kind's own attributes. */
export function linkInfo(kind: string, data?: readonly Attribute[]): Attribute {
  const info: Attribute[] = [[IFLA_INFO_KIND, Buffer.from(kind)]];
  if (data) info.push([IFLA_INFO_DATA, data]);
  return [IFLA_LINKINFO, info];
}

const IFLA_INFO_SLAVE_KIND = 4;
const IFLA_INFO_SLAVE_DATA = 5;

/** IFLA_LINKINFO of a port of a link of this kind. */
export function slaveInfo(kind: string, data: readonly Attribute[]): Attribute {
  return [
    IFLA_LINKINFO,
    [
      [IFLA_INFO_SLAVE_KIND, Buffer.from(kind)],
      [IFLA_INFO_SLAVE_DATA, data],
    ],
  ];
}

/** For errors. */
export const LINK_ATTRIBUTES: Readonly<Record<number, string>> = {
  [IFLA_ADDRESS]: "IFLA_ADDRESS",
  [IFLA_MTU]: "IFLA_MTU",
  [IFLA_LINK]: "IFLA_LINK",
  [IFLA_MASTER]: "IFLA_MASTER",
  [IFLA_LINKINFO]: "IFLA_LINKINFO",
  [IFLA_IFNAME]: "IFLA_IFNAME",
  [IFLA_NET_NS_FD]: "IFLA_NET_NS_FD",
};
export const ADDRESS_ATTRIBUTES: Readonly<Record<number, string>> = {
  [IFA_ADDRESS]: "IFA_ADDRESS",
  [IFA_LOCAL]: "IFA_LOCAL",
  [IFA_LABEL]: "IFA_LABEL",
  [IFA_BROADCAST]: "IFA_BROADCAST",
  [IFA_FLAGS]: "IFA_FLAGS",
};

/** struct ifinfomsg and ifaddrmsg: what comes before the attributes. */
export const LINK_HEADER = 16;
export const ADDRESS_HEADER = 8;

/** `index` 0: named by an attribute. Of `flags`, those in `change` are set as they are. */
export interface LinkRequest {
  index: number;
  flags?: number;
  change?: number;
  attributes?: readonly Attribute[];
}

export function encodeLink({ index, flags = 0, change = 0, attributes = [] }: LinkRequest): Buffer {
  const header = Buffer.alloc(LINK_HEADER);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(flags, 8);
  header.writeUInt32LE(change, 12);
  return Buffer.concat([header, encodeAttributes(attributes)]);
}

export interface Link {
  index: number;
  /** IFF_*. */
  flags: number;
  name: string;
  /** Index of the link that it is a port of. */
  master?: number;
  /** `bridge`, `veth`; hardware has none. */
  kind?: string;
  /** For people: IFLA_IFALIAS. */
  alias?: string;
  mtu?: number;
  /** Hardware address. */
  address?: Buffer;
}

/** Payload of RTM_NEWLINK. One cut short is a RangeError. */
export function decodeLink(payload: Buffer): Link {
  if (payload.length < LINK_HEADER) throw new RangeError(`netlink: a link of ${payload.length} bytes`);
  const attributes = decodeAttributes(payload.subarray(LINK_HEADER));
  const name = attributes.get(IFLA_IFNAME);
  const link: Link = {
    index: payload.readInt32LE(4),
    flags: payload.readUInt32LE(8),
    name: name ? readText(name) : "",
  };
  const master = attributes.get(IFLA_MASTER);
  const mtu = attributes.get(IFLA_MTU);
  const alias = attributes.get(IFLA_IFALIAS);
  const info = attributes.get(IFLA_LINKINFO);
  const address = attributes.get(IFLA_ADDRESS);
  if (master && master.length >= 4) link.master = master.readUInt32LE(0);
  if (mtu && mtu.length >= 4) link.mtu = mtu.readUInt32LE(0);
  if (alias) link.alias = readText(alias);
  if (address) link.address = address;
  const kind = info && decodeAttributes(info).get(IFLA_INFO_KIND);
  if (kind) link.kind = readText(kind);
  return link;
}

export const IFA_F_PERMANENT = 0x80;
/** What the kernel says of an address, rather than we to it: DADFAILED, TEMPORARY, DEPRECATED, TENTATIVE, PERMANENT. */
const IFA_F_STATE = 0x01 | 0x08 | 0x20 | 0x40 | IFA_F_PERMANENT;
export const RT_SCOPE_UNIVERSE = 0;

export interface Address {
  /** AF_INET, AF_INET6. */
  family: number;
  prefixLength: number;
  /** IFA_F_*. */
  flags: number;
  /** RT_SCOPE_*. */
  scope: number;
  /** Of the link. */
  index: number;
  /** The peer's where there is one, else as `local`. */
  address: Buffer | undefined;
  local: Buffer | undefined;
  broadcast: Buffer | undefined;
}

/** Payload of RTM_NEWADDR. One cut short is a RangeError. */
export function decodeAddress(payload: Buffer): Address {
  if (payload.length < ADDRESS_HEADER) throw new RangeError(`netlink: an address of ${payload.length} bytes`);
  const attributes = decodeAttributes(payload.subarray(ADDRESS_HEADER));
  const flags = attributes.get(IFA_FLAGS);
  return {
    family: payload[0]!,
    prefixLength: payload[1]!,
    // The header has room for eight of them only.
    flags: flags && flags.length >= 4 ? flags.readUInt32LE(0) : payload[2]!,
    scope: payload[3]!,
    index: payload.readInt32LE(4),
    address: attributes.get(IFA_ADDRESS),
    local: attributes.get(IFA_LOCAL),
    broadcast: attributes.get(IFA_BROADCAST),
  };
}

/** To make this address: without a label, which has the link's name in it, and without what the kernel decides. */
export function encodeAddress({
  family,
  prefixLength,
  flags,
  scope,
  index,
  address,
  local,
  broadcast,
}: Address): Buffer {
  const header = Buffer.alloc(ADDRESS_HEADER);
  header[0] = family;
  header[1] = prefixLength;
  header[3] = scope;
  header.writeInt32LE(index, 4);
  const word = Buffer.alloc(4);
  word.writeUInt32LE((flags & ~IFA_F_STATE) >>> 0);
  const attributes: Attribute[] = [];
  if (local) attributes.push([IFA_LOCAL, local]);
  if (address) attributes.push([IFA_ADDRESS, address]);
  if (broadcast) attributes.push([IFA_BROADCAST, broadcast]);
  attributes.push([IFA_FLAGS, word]);
  return Buffer.concat([header, encodeAttributes(attributes)]);
}

export const RTM_NEWROUTE = 24;
export const RTM_GETROUTE = 26;
export const RTA_DST = 1;
export const RTA_OIF = 4;
export const RTA_GATEWAY = 5;
export const RTA_PRIORITY = 6;
export const ROUTE_ATTRIBUTES: Readonly<Record<number, string>> = {
  [RTA_DST]: "RTA_DST",
  [RTA_OIF]: "RTA_OIF",
  [RTA_GATEWAY]: "RTA_GATEWAY",
  [RTA_PRIORITY]: "RTA_PRIORITY",
};
/** struct rtmsg. */
export const ROUTE_HEADER = 12;
const RT_TABLE_MAIN = 254;
export const RTPROT_STATIC = 4;
export const RT_SCOPE_LINK = 253;
export const RTN_UNICAST = 1;

export interface Route {
  /** AF_INET, AF_INET6. */
  family: number;
  /** Absent with prefixLength 0: the default route. */
  destination?: Buffer;
  prefixLength: number;
  gateway?: Buffer;
  /** Index of the link. */
  link?: number;
  /** The lowest is chosen. */
  priority?: number;
  /** RTN_*; when reading. */
  type?: number;
}

/** A route of the main table. */
export function encodeRoute({ family, destination, prefixLength, gateway, link, priority }: Route): Buffer {
  const header = Buffer.alloc(ROUTE_HEADER);
  header[0] = family;
  header[1] = prefixLength;
  header[4] = RT_TABLE_MAIN;
  header[5] = RTPROT_STATIC;
  header[6] = gateway || family === AF_INET6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  header[7] = RTN_UNICAST;
  const attributes: Attribute[] = [];
  if (destination) attributes.push([RTA_DST, destination]);
  if (gateway) attributes.push([RTA_GATEWAY, gateway]);
  if (link !== undefined) attributes.push([RTA_OIF, u32(link)]);
  if (priority !== undefined) attributes.push([RTA_PRIORITY, u32(priority)]);
  return Buffer.concat([header, encodeAttributes(attributes)]);
}

const AF_INET6 = 10;

/** Payload of RTM_NEWROUTE. One cut short is a RangeError. */
export function decodeRoute(payload: Buffer): Route {
  if (payload.length < ROUTE_HEADER) throw new RangeError(`netlink: a route of ${payload.length} bytes`);
  const attributes = decodeAttributes(payload.subarray(ROUTE_HEADER));
  const number = (type: number) => {
    const value = attributes.get(type);
    return value && value.length >= 4 ? value.readUInt32LE(0) : undefined;
  };
  const [destination, gateway] = [attributes.get(RTA_DST), attributes.get(RTA_GATEWAY)];
  const [link, priority] = [number(RTA_OIF), number(RTA_PRIORITY)];
  return {
    family: payload[0]!,
    prefixLength: payload[1]!,
    type: payload[7]!,
    ...(destination ? { destination } : {}),
    ...(gateway ? { gateway } : {}),
    ...(link === undefined ? {} : { link }),
    ...(priority === undefined ? {} : { priority }),
  };
}
