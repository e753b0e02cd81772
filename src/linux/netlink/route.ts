import { type Attribute, decodeAttributes, encodeAttributes, readText } from "./attributes.ts";

/** Links and addresses of rtnetlink(7): pure. */

export const RTM_NEWLINK = 16;
export const RTM_GETLINK = 18;
export const RTM_NEWADDR = 20;
export const RTM_GETADDR = 22;

export const IFF_UP = 1;

export const IFLA_IFNAME = 3;
export const IFLA_NET_NS_FD = 28;
export const IFA_ADDRESS = 1;
export const IFA_LOCAL = 2;
export const IFA_LABEL = 3;
export const IFA_BROADCAST = 4;
export const IFA_FLAGS = 8;

/** For errors. */
export const LINK_ATTRIBUTES: Readonly<Record<number, string>> = {
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
}

/** Payload of RTM_NEWLINK. One cut short is a RangeError. */
export function decodeLink(payload: Buffer): Link {
  if (payload.length < LINK_HEADER) throw new RangeError(`netlink: a link of ${payload.length} bytes`);
  const name = decodeAttributes(payload.subarray(LINK_HEADER)).get(IFLA_IFNAME);
  return { index: payload.readInt32LE(4), flags: payload.readUInt32LE(8), name: name ? readText(name) : "" };
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
