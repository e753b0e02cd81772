import { fstatSync, openSync, statSync } from "node:fs";
import { codeOf, invalid, messageOf } from "../../base/errors.ts";
import { close } from "../../linux/file.ts";
import { text, u32 } from "../../linux/netlink/attributes.ts";
import { NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE } from "../../linux/netlink/message.ts";
import {
  ADDRESS_ATTRIBUTES,
  ADDRESS_HEADER,
  type Address,
  decodeAddress,
  decodeLink,
  encodeAddress,
  encodeLink,
  IFA_F_PERMANENT,
  IFF_UP,
  IFLA_IFNAME,
  IFLA_NET_NS_FD,
  LINK_ATTRIBUTES,
  LINK_HEADER,
  type Link,
  type LinkRequest,
  RT_SCOPE_UNIVERSE,
  RTM_GETADDR,
  RTM_GETLINK,
  RTM_NEWADDR,
  RTM_NEWLINK,
} from "../../linux/netlink/route.ts";
import { RouteSocket } from "../../linux/netlink/socket.ts";
import type { Linux } from "../../spec/oci-runtime.ts";

/** An interface that was moved, and what it was on the host. */
interface Moved {
  before: Link;
  /** The permanent ones. */
  addresses: Address[];
  index: number;
}

/**
 * `linux.netDevices` (config-linux.md, "Network Devices"): interfaces of the runtime's network namespace that become the
 * container's. Each keeps its permanent global addresses and is up afterwards. They are not brought back at the end;
 * only {@link NetDevices.undo}, for a create that fails, does that (their routes are gone then).
 */
export class NetDevices {
  readonly #ours = openSync("/proc/self/ns/net", "r");
  readonly #theirs: number;
  readonly #here = new RouteSocket();
  readonly #there: RouteSocket;
  readonly #moved: Moved[] = [];

  /** `pid` is a process in the container's network namespace, which stays for as long as this is open. */
  constructor(pid: number) {
    this.#theirs = openSync(`/proc/${pid}/ns/net`, "r");
    const [a, b] = [fstatSync(this.#theirs), statSync("/proc/self/ns/net")];
    if (a.ino === b.ino) throw invalid("linux.netDevices: the container has no network namespace of its own");
    this.#there = new RouteSocket(this.#theirs);
  }

  close(): void {
    this.#here.close();
    this.#there.close();
    close(this.#ours);
    close(this.#theirs);
  }

  /** Moves all of them. An error leaves those before in the container. */
  move(devices: NonNullable<Linux["netDevices"]>): void {
    for (const [name, device] of Object.entries(devices)) {
      try {
        this.#moveOne(name, device.name || name);
      } catch (error) {
        throw invalid(`linux.netDevices ${name}: ${messageOf(error)}${cause(codeOf(error))}`, error);
      }
    }
  }

  /** Brings back what was moved, last one first, as it was. What goes wrong is told to `warn`. */
  undo(warn: (message: string) => void): void {
    for (const { before, addresses, index } of this.#moved.splice(0).reverse()) {
      try {
        changeLink(this.#there, before.name, {
          index,
          attributes: [
            [IFLA_NET_NS_FD, u32(this.#ours)],
            [IFLA_IFNAME, text(before.name)],
          ],
        });
        const back = findLink(this.#here, before.name)!;
        this.#configure(this.#here, back, addresses, before.flags);
      } catch (error) {
        warn(`linux.netDevices ${before.name}: it stays in the container's network namespace: ${messageOf(error)}`);
      }
    }
  }

  #moveOne(name: string, wanted: string): void {
    const link = findLink(this.#here, name);
    if (!link) throw invalid("there is no such interface");
    const there = listLinks(this.#there);
    // The kernel would move it and then fail to name it.
    if (there.some((other) => other.name === wanted)) {
      throw invalid(`the container's network namespace has an interface ${wanted} already`);
    }
    const addresses = listAddresses(this.#here, name).filter(
      ({ index, flags }) => index === link.index && (flags & IFA_F_PERMANENT) !== 0,
    );
    const moved: Moved = { before: link, addresses, index: 0 };
    const known = new Set(there.map(({ index }) => index));
    const arrived = () => listLinks(this.#there).find(({ index }) => !known.has(index));
    try {
      changeLink(this.#here, name, { index: link.index, change: IFF_UP });
      changeLink(this.#here, name, {
        index: link.index,
        attributes: [
          [IFLA_NET_NS_FD, u32(this.#theirs)],
          [IFLA_IFNAME, text(wanted)],
        ],
      });
    } catch (error) {
      const half = arrived();
      if (half) this.#moved.push({ ...moved, index: half.index });
      else this.#restoreFlags(link);
      throw error;
    }
    const inside = arrived();
    if (!inside) throw invalid("it was moved, but did not arrive");
    this.#moved.push({ ...moved, index: inside.index });
    const global = addresses.filter(({ scope }) => scope === RT_SCOPE_UNIVERSE);
    this.#configure(this.#there, inside, global, IFF_UP);
  }

  #configure(socket: RouteSocket, link: Link, addresses: readonly Address[], flags: number): void {
    for (const address of addresses) {
      socket.request({
        type: RTM_NEWADDR,
        // One that the kernel makes by itself may be there.
        flags: NLM_F_CREATE | NLM_F_REPLACE,
        payload: encodeAddress({ ...address, index: link.index }),
        operation: "RTM_NEWADDR",
        object: link.name,
        header: ADDRESS_HEADER,
        attributes: ADDRESS_ATTRIBUTES,
      });
    }
    if (flags & IFF_UP) changeLink(socket, link.name, { index: link.index, flags: IFF_UP, change: IFF_UP });
  }

  #restoreFlags(link: Link): void {
    if (link.flags & IFF_UP) changeLink(this.#here, link.name, { index: link.index, flags: IFF_UP, change: IFF_UP });
  }
}

function cause(code: string | undefined): string {
  if (code === "EPERM") return "; moving an interface needs CAP_NET_ADMIN in its network namespace and in the other";
  return code === "EINVAL" || code === "EOPNOTSUPP"
    ? "; this kind of interface cannot change its network namespace"
    : "";
}

function changeLink(socket: RouteSocket, name: string, request: LinkRequest): void {
  socket.request({
    type: RTM_NEWLINK,
    payload: encodeLink(request),
    operation: "RTM_NEWLINK",
    object: name,
    header: LINK_HEADER,
    attributes: LINK_ATTRIBUTES,
  });
}

function listLinks(socket: RouteSocket): Link[] {
  const answers = socket.request({
    type: RTM_GETLINK,
    flags: NLM_F_DUMP,
    payload: encodeLink({ index: 0 }),
    operation: "RTM_GETLINK",
    object: "all",
    header: LINK_HEADER,
    attributes: LINK_ATTRIBUTES,
  });
  return answers.filter(({ type }) => type === RTM_NEWLINK).map(({ payload }) => decodeLink(payload));
}

function findLink(socket: RouteSocket, name: string): Link | undefined {
  return listLinks(socket).find((link) => link.name === name);
}

function listAddresses(socket: RouteSocket, name: string): Address[] {
  const answers = socket.request({
    type: RTM_GETADDR,
    flags: NLM_F_DUMP,
    payload: Buffer.alloc(ADDRESS_HEADER),
    operation: "RTM_GETADDR",
    object: name,
    header: ADDRESS_HEADER,
    attributes: ADDRESS_ATTRIBUTES,
  });
  return answers.filter(({ type }) => type === RTM_NEWADDR).map(({ payload }) => decodeAddress(payload));
}
