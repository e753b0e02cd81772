import { readFileSync, writeFileSync } from "node:fs";
import { codeOf, InroError, messageOf } from "../base/errors.ts";
import { type Attribute, text, u32 } from "../linux/netlink/attributes.ts";
import { NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE } from "../linux/netlink/message.ts";
import {
  ADDRESS_ATTRIBUTES,
  ADDRESS_HEADER,
  type Address,
  decodeAddress,
  decodeLink,
  decodeRoute,
  encodeAddress,
  encodeLink,
  encodeRoute,
  IFLA_IFNAME,
  LINK_ATTRIBUTES,
  LINK_HEADER,
  type Link,
  type LinkRequest,
  ROUTE_ATTRIBUTES,
  ROUTE_HEADER,
  type Route,
  RTM_DELLINK,
  RTM_GETADDR,
  RTM_GETLINK,
  RTM_GETROUTE,
  RTM_NEWADDR,
  RTM_NEWLINK,
  RTM_NEWROUTE,
} from "../linux/netlink/route.ts";
import type { Request } from "../linux/netlink/socket.ts";
import { RouteSocket } from "../linux/netlink/socket.ts";
import { AF, addressBytes, type IpAddress } from "./address.ts";

/** Requests of rtnetlink, with what their errors say. */

export function linkMessage(object: string, request: LinkRequest, flags = 0): Request {
  return {
    type: RTM_NEWLINK,
    flags,
    payload: encodeLink(request),
    operation: "RTM_NEWLINK",
    object,
    header: LINK_HEADER,
    attributes: LINK_ATTRIBUTES,
  };
}

export function addressMessage(object: string, address: Address, flags: number): Request {
  return {
    type: RTM_NEWADDR,
    flags,
    payload: encodeAddress(address),
    operation: "RTM_NEWADDR",
    object,
    header: ADDRESS_HEADER,
    attributes: ADDRESS_ATTRIBUTES,
  };
}

export function routeMessage(object: string, route: Route, flags: number): Request {
  return {
    type: RTM_NEWROUTE,
    flags,
    payload: encodeRoute(route),
    operation: "RTM_NEWROUTE",
    object,
    header: ROUTE_HEADER,
    attributes: ROUTE_ATTRIBUTES,
  };
}

const ENODEV = 19;
const IFLA_EXT_MASK = 29;
/** Counting what has passed an interface takes longer than all the rest. */
const RTEXT_FILTER_SKIP_STATS = 8;

/** One network namespace by its rtnetlink socket. The owner closes it. */
export class NetworkStack {
  readonly socket: RouteSocket;

  /** `namespace` is a descriptor; without one, the engine's own. */
  constructor(namespace?: number) {
    this.socket = new RouteSocket(namespace);
  }

  close(): void {
    this.socket.close();
  }

  links(): Link[] {
    const request = {
      ...linkMessage("all", { index: 0 }),
      type: RTM_GETLINK,
      operation: "RTM_GETLINK",
      flags: NLM_F_DUMP,
    };
    return this.socket
      .request(request)
      .filter(({ type }) => type === RTM_NEWLINK)
      .map(({ payload }) => decodeLink(payload));
  }

  link(name: string): Link | undefined {
    const attributes: Attribute[] = [
      [IFLA_IFNAME, text(name)],
      [IFLA_EXT_MASK, u32(RTEXT_FILTER_SKIP_STATS)],
    ];
    const request = { ...linkMessage(name, { index: 0, attributes }), type: RTM_GETLINK, operation: "RTM_GETLINK" };
    try {
      const [answer] = this.socket.request(request);
      return answer && decodeLink(answer.payload);
    } catch (error) {
      if (codeOf(error) === "ENODEV") return undefined;
      throw error;
    }
  }

  /** One that is not there is fine. */
  deleteLink(index: number, name: string): void {
    try {
      this.socket.request({ ...linkMessage(name, { index }), type: RTM_DELLINK, operation: "RTM_DELLINK" });
    } catch (error) {
      if ((error as { errno?: number }).errno !== ENODEV) throw error;
    }
  }

  /** Replaces the one of the gateway's family. */
  setDefaultRoute(name: string, gateway: IpAddress): void {
    const link = this.link(name);
    if (!link) return;
    const route = { family: AF[gateway.family], prefixLength: 0, gateway: addressBytes(gateway), link: link.index };
    this.socket.request(routeMessage(name, route, NLM_F_CREATE | NLM_F_REPLACE));
  }

  addresses(): Address[] {
    const answers = this.socket.request({
      type: RTM_GETADDR,
      flags: NLM_F_DUMP,
      payload: Buffer.alloc(ADDRESS_HEADER),
      operation: "RTM_GETADDR",
      object: "all",
      header: ADDRESS_HEADER,
      attributes: ADDRESS_ATTRIBUTES,
    });
    return answers.filter(({ type }) => type === RTM_NEWADDR).map(({ payload }) => decodeAddress(payload));
  }

  /** Of all tables, those for one's own addresses and broadcasts too. */
  routes(): Route[] {
    const answers = this.socket.request({
      type: RTM_GETROUTE,
      flags: NLM_F_DUMP,
      payload: Buffer.alloc(ROUTE_HEADER),
      operation: "RTM_GETROUTE",
      object: "all",
      header: ROUTE_HEADER,
      attributes: ROUTE_ATTRIBUTES,
    });
    return answers.filter(({ type }) => type === RTM_NEWROUTE).map(({ payload }) => decodeRoute(payload));
  }
}

/** Value of `net/…` of the engine's network namespace; undefined where the kernel has no such parameter. */
export function readNetSysctl(name: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/net/${name}`, "latin1").trim();
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Sets it if it is another. */
export function writeNetSysctl(name: string, value: string): void {
  if (readNetSysctl(name) === value) return;
  try {
    writeFileSync(`/proc/sys/net/${name}`, value);
  } catch (error) {
    throw new InroError("unavailable", `set net.${name.replaceAll("/", ".")} to ${value}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
