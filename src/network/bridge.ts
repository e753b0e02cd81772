import { randomBytes } from "node:crypto";
import { codeOf, conflict, messageOf, unavailable } from "../base/errors.ts";
import { type Attribute, text, u32 } from "../linux/netlink/attributes.ts";
import { NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from "../linux/netlink/message.ts";
import {
  IFF_UP,
  IFLA_ADDRESS,
  IFLA_IFALIAS,
  IFLA_IFNAME,
  IFLA_MASTER,
  IFLA_MTU,
  type Link,
  linkInfo,
  RT_SCOPE_UNIVERSE,
} from "../linux/netlink/route.ts";
import { AF, addressBytes, type IpAddress, type Subnet, sizeOf } from "./address.ts";
import { addressMessage, linkMessage, type NetworkStack, writeNetSysctl } from "./host.ts";

/** An address with the subnet that it is in. */
export interface InterfaceAddress {
  address: IpAddress;
  subnet: Subnet;
}

export interface BridgeSpec {
  /** At most 15 bytes. */
  name: string;
  /** Written on it, so that its owner knows it again (IFLA_IFALIAS). */
  mark: string;
  mtu?: number;
  /** The host's own, which are the containers' gateways. */
  addresses: readonly InterfaceAddress[];
}

/** IFA_F_NODAD: usable at once. Nobody else is there to have it. */
export const NO_DAD = 0x02;

/** Random, locally administered (IEEE 802). */
export function randomMac(): Buffer {
  const mac = randomBytes(6);
  mac[0] = (mac[0]! & 0xfe) | 0x02;
  return mac;
}

/**
 * The bridge with its addresses, made if it is not there; its index. One of that name that is not ours is a conflict, and
 * a kernel without bridges `unavailable`.
 */
export function ensureBridge(host: NetworkStack, spec: BridgeSpec): number {
  const { name, mark } = spec;
  let link = host.link(name);
  if (link && link.alias !== mark) {
    throw conflict(`interface ${name} exists already and is not of this network: remove it, or choose another name`);
  }
  if (!link) {
    const attributes: Attribute[] = [
      [IFLA_IFNAME, text(name)],
      // One of its own: the kernel would take the lowest of the ports', and change it as they come and go.
      [IFLA_ADDRESS, randomMac()],
      ...(spec.mtu === undefined ? [] : [[IFLA_MTU, u32(spec.mtu)] as Attribute]),
      linkInfo("bridge"),
    ];
    try {
      host.socket.request(linkMessage(name, { index: 0, attributes }, NLM_F_CREATE | NLM_F_EXCL));
    } catch (error) {
      if (codeOf(error) !== "EOPNOTSUPP") throw unavailable(`make bridge ${name}: ${messageOf(error)}`, error);
      throw unavailable(`make bridge ${name}: this kernel has no bridges (CONFIG_BRIDGE)`, error);
    }
    link = host.link(name)!;
    host.socket.request(linkMessage(name, { index: link.index, attributes: [[IFLA_IFALIAS, Buffer.from(mark)]] }));
  }
  if (!(link.flags & IFF_UP)) {
    for (const { address, subnet } of spec.addresses) host.socket.request(hostAddress(link, address, subnet));
    // From localhost to a container: the packet's source is 127.0.0.1 until it leaves. The firewall lets none of those
    // addresses in by this interface (CVE-2020-8558).
    if (spec.addresses.some(({ address }) => address.family === 4)) {
      writeNetSysctl(`ipv4/conf/${name}/route_localnet`, "1");
    }
    host.socket.request(linkMessage(name, { index: link.index, flags: IFF_UP, change: IFF_UP }));
  }
  return link.index;
}

function hostAddress(link: Link, address: IpAddress, subnet: Subnet) {
  const bytes = addressBytes(address);
  return addressMessage(
    link.name,
    {
      family: AF[address.family],
      prefixLength: subnet.prefix,
      flags: address.family === 6 ? NO_DAD : 0,
      scope: RT_SCOPE_UNIVERSE,
      index: link.index,
      address: bytes,
      local: bytes,
      broadcast: broadcastOf(subnet),
    },
    NLM_F_CREATE | NLM_F_REPLACE,
  );
}

export function broadcastOf(subnet: Subnet): Buffer | undefined {
  if (subnet.family === 6 || subnet.prefix > 30) return undefined;
  return addressBytes({ family: 4, value: subnet.base + sizeOf(subnet) - 1n });
}

/** Makes an interface a port of the bridge. */
export function addPort(host: NetworkStack, bridge: number, name: string): void {
  const link = host.link(name);
  if (!link || link.master === bridge) return;
  host.socket.request(linkMessage(name, { index: link.index, attributes: [[IFLA_MASTER, u32(bridge)]] }));
}
