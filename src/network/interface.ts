import { codeOf, invalid, messageOf, unavailable } from "../base/errors.ts";
import { type Attribute, text, u8, u32 } from "../linux/netlink/attributes.ts";
import { NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from "../linux/netlink/message.ts";
import {
  encodeLink,
  IFF_UP,
  IFLA_ADDRESS,
  IFLA_AF_SPEC,
  IFLA_IFNAME,
  IFLA_LINK,
  IFLA_MASTER,
  IFLA_MTU,
  IFLA_NET_NS_FD,
  linkInfo,
  RT_SCOPE_UNIVERSE,
  slaveInfo,
} from "../linux/netlink/route.ts";
import { NLM_F_NO_ACK, type Request } from "../linux/netlink/socket.ts";
import { AF, addressBytes, type IpAddress } from "./address.ts";
import { broadcastOf, type InterfaceAddress, NO_DAD } from "./bridge.ts";
import { deleteLinkAside } from "./delete-link.ts";
import { addressMessage, linkMessage, type NetworkStack, routeMessage } from "./host.ts";
import type { NetworkNamespace } from "./namespace.ts";

/** How a container's interface reaches the outside: a veth into a bridge, or a part of a host's interface. */
export type Attachment =
  | { kind: "bridge"; bridge: number; hostName: string; port?: BridgePort }
  | { kind: "macvlan"; parent: number; mode: number }
  | { kind: "ipvlan"; parent: number; mode: number; flags: number };

export interface BridgePort {
  /** Frames may leave by the port they came by: for a container that asks for a port of its own by the host's address. */
  hairpin?: boolean;
  /** Reaches none of the other isolated ports (docker's enable_icc=false). */
  isolated?: boolean;
}

export interface InterfaceSpec {
  /** In the container: `eth0`. */
  name: string;
  attachment: Attachment;
  /** Absent: what the kernel gives. */
  mac?: Buffer;
  mtu?: number;
  addresses: readonly InterfaceAddress[];
  /** Default routes by this interface; those of lower `priority` win. */
  gateways: readonly IpAddress[];
  priority?: number;
}

const VETH_INFO_PEER = 1;
const IFLA_MACVLAN_MODE = 1;
const IFLA_IPVLAN_MODE = 1;
const IFLA_IPVLAN_FLAGS = 2;
const IFLA_INET6_ADDR_GEN_MODE = 8;
const IN6_ADDR_GEN_MODE_NONE = 1;

const IFLA_BRPORT_MODE = 4;
const IFLA_BRPORT_ISOLATED = 33;

/** No link-local address: of an interface without IPv6, and of the host's end of a veth. */
const noLinkLocal: Attribute = [IFLA_AF_SPEC, [[AF[6], [[IFLA_INET6_ADDR_GEN_MODE, u8(IN6_ADDR_GEN_MODE_NONE)]]]]];

/**
 * Makes an interface of the container, with addresses and routes, up. Where it fails nothing is left. `host` is the stack
 * that the attachment's indexes are of. A kernel without the driver is `unavailable`.
 */
export function plug(host: NetworkStack, into: NetworkNamespace, spec: InterfaceSpec): void {
  const { name } = spec;
  create(host, into, spec);
  const link = into.stack.link(name)!;
  try {
    into.stack.socket.all(configuration(spec, link.index));
  } catch (error) {
    into.stack.deleteLink(link.index, name);
    throw error;
  }
}

function create(host: NetworkStack, into: NetworkNamespace, spec: InterfaceSpec): void {
  const { name, attachment, mac, mtu } = spec;
  const inside: Attribute[] = [
    [IFLA_IFNAME, text(name)],
    [IFLA_NET_NS_FD, u32(into.fd)],
    ...(mac ? [[IFLA_ADDRESS, mac] as Attribute] : []),
    ...(mtu === undefined ? [] : [[IFLA_MTU, u32(mtu)] as Attribute]),
  ];
  try {
    if (attachment.kind === "bridge") {
      const { hostName, bridge, port } = attachment;
      const peer = encodeLink({ index: 0, attributes: inside });
      const attributes: Attribute[] = [
        [IFLA_IFNAME, text(hostName)],
        [IFLA_MASTER, u32(bridge)],
        ...(mtu === undefined ? [] : [[IFLA_MTU, u32(mtu)] as Attribute]),
        linkInfo("veth", [[VETH_INFO_PEER, peer]]),
      ];
      const up: Attribute[] = [[IFLA_IFNAME, text(hostName)], noLinkLocal, ...(port ? [portInfo(port)] : [])];
      host.socket.all([
        linkMessage(hostName, { index: 0, attributes }, NLM_F_CREATE | NLM_F_EXCL | NLM_F_NO_ACK),
        linkMessage(hostName, { index: 0, flags: IFF_UP, change: IFF_UP, attributes: up }),
      ]);
      return;
    }
    const info =
      attachment.kind === "macvlan"
        ? linkInfo("macvlan", [[IFLA_MACVLAN_MODE, u32(attachment.mode)]])
        : linkInfo("ipvlan", [
            [IFLA_IPVLAN_MODE, u16(attachment.mode)],
            [IFLA_IPVLAN_FLAGS, u16(attachment.flags)],
          ]);
    const attributes: Attribute[] = [...inside, [IFLA_LINK, u32(attachment.parent)], info];
    host.socket.request(linkMessage(name, { index: 0, attributes }, NLM_F_CREATE | NLM_F_EXCL));
  } catch (error) {
    throw whyNot(attachment.kind, name, error);
  }
}

/** Changes how the bridge treats one of its ports. */
export function setBridgePort(host: NetworkStack, name: string, port: BridgePort): void {
  const attributes: Attribute[] = [[IFLA_IFNAME, text(name)], portInfo(port)];
  host.socket.request(linkMessage(name, { index: 0, attributes }));
}

function portInfo({ hairpin = false, isolated = false }: BridgePort): Attribute {
  return slaveInfo("bridge", [
    [IFLA_BRPORT_MODE, u8(hairpin ? 1 : 0)],
    [IFLA_BRPORT_ISOLATED, u8(isolated ? 1 : 0)],
  ]);
}

function whyNot(kind: Attachment["kind"], name: string, error: unknown): Error {
  const driver = kind === "bridge" ? "veth" : kind;
  if (codeOf(error) === "EOPNOTSUPP") {
    return unavailable(`make interface ${name}: this kernel has no ${driver} (CONFIG_${driver.toUpperCase()})`, error);
  }
  if (codeOf(error) === "EADDRINUSE") return invalid(`make interface ${name}: its MAC address is in use`, error);
  if (codeOf(error) === "EBUSY") {
    return unavailable(
      `make interface ${name}: its parent is in use in another way (a bridge, or another driver)`,
      error,
    );
  }
  return unavailable(`make interface ${name}: ${messageOf(error)}`, error);
}

function configuration({ name, addresses, gateways, priority }: InterfaceSpec, index: number): Request[] {
  const flags = NLM_F_CREATE | NLM_F_NO_ACK;
  const v6 = addresses.some(({ address }) => address.family === 6);
  const up = linkMessage(
    name,
    { index, flags: IFF_UP, change: IFF_UP, ...(v6 ? {} : { attributes: [noLinkLocal] }) },
    NLM_F_NO_ACK,
  );
  const given = addresses.map(({ address, subnet }) => {
    const bytes = addressBytes(address);
    return addressMessage(
      name,
      {
        family: AF[address.family],
        prefixLength: subnet.prefix,
        flags: address.family === 6 ? NO_DAD : 0,
        scope: RT_SCOPE_UNIVERSE,
        index,
        address: bytes,
        local: bytes,
        broadcast: broadcastOf(subnet),
      },
      flags,
    );
  });
  return [up, ...given, ...gateways.map((gateway) => defaultRoute(name, index, gateway, priority, flags))];
}

function defaultRoute(name: string, link: number, gateway: IpAddress, priority: number | undefined, flags: number) {
  return routeMessage(
    name,
    {
      family: AF[gateway.family],
      prefixLength: 0,
      gateway: addressBytes(gateway),
      link,
      ...(priority === undefined ? {} : { priority }),
    },
    flags | NLM_F_REPLACE,
  );
}

/** Takes an interface out of a running container. */
export async function unplug(from: NetworkNamespace, name: string): Promise<void> {
  const link = from.stack.link(name);
  if (link) await deleteLinkAside(link.index, from.fd);
}

function u16(value: number): Buffer {
  const out = Buffer.alloc(2);
  out.writeUInt16LE(value);
  return out;
}
