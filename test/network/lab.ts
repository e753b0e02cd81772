import { afterAll, beforeAll } from "bun:test";
import { openSync } from "node:fs";
import { sys, trySys } from "../../src/linux/call.ts";
import * as k from "../../src/linux/constants.ts";
import { addressOf, bytes, scratch } from "../../src/linux/ffi.ts";
import { close } from "../../src/linux/file.ts";
import { type Attribute, text, u32 } from "../../src/linux/netlink/attributes.ts";
import { NLM_F_CREATE, NLM_F_EXCL } from "../../src/linux/netlink/message.ts";
import { encodeLink, IFF_UP, IFLA_IFNAME, IFLA_NET_NS_FD, linkInfo } from "../../src/linux/netlink/route.ts";
import { inNetworkNamespace } from "../../src/linux/netlink/socket.ts";
import { AF, addressBytes, parseAddress } from "../../src/network/address.ts";
import { addressMessage, linkMessage, type NetworkStack, writeNetSysctl } from "../../src/network/host.ts";
import { createNetworkNamespace, type NetworkNamespace } from "../../src/network/namespace.ts";
import type { ContainerInspect, EndpointSettings } from "../../src/spec/docker-api.ts";
import { TestEngine } from "../harness.ts";
import type { UserOptions } from "../runtime/rootless/user.ts";

/** Addresses of the engine's host and of a machine beside it. */
export const HOST = { 4: "198.51.100.1", 6: "2001:db8:51::1" } as const;
export const OUTSIDE = { 4: "198.51.100.2", 6: "2001:db8:51::2" } as const;
const VETH_INFO_PEER = 1;
const NODAD = 2;

/** How long a packet may take that is to arrive, and for how long one is waited for that is not. */
const ARRIVES_MS = 10_000;
const LOST_MS = 400;

/**
 * An engine on a host of its own, with a machine beside it on the same wire, which has the host as its router. The test's
 * own process is every server and client: it opens sockets in the network namespaces of host, neighbour and containers.
 */
export class Lab {
  readonly engine: TestEngine;
  readonly #neighbours: NetworkNamespace[] = [];
  readonly #namespaces = new Map<string, number>();
  readonly outside: NetworkNamespace = createNetworkNamespace();
  readonly #open: { stop(): void }[] = [];

  /** `extra`: options of its `serve`. */
  constructor(extra: string[] = ["--ip", "0.0.0.0"], options: { rootless?: UserOptions } = {}) {
    this.engine = new TestEngine(extra, { networks: true, ...options });
  }

  get host(): number {
    return this.engine.namespace!.fd;
  }

  async start(): Promise<void> {
    connect(this.engine.namespace!, this.outside, "wire0", [
      [HOST[4], OUTSIDE[4], 24],
      [HOST[6], OUTSIDE[6], 64],
    ]);
    // A plain user's containers go the host's way, which has to lead somewhere.
    if (this.engine.rootless) this.engine.namespace!.stack.setDefaultRoute("wire0", parseAddress(OUTSIDE[4])!);
    // A namespace may take this from the machine.
    this.engine.onHost(() => writeNetSysctl("ipv4/ip_forward", "0"));
    await this.engine.start();
    await this.engine.busybox();
  }

  async stop(): Promise<void> {
    this.leave();
    await this.engine.stop();
    for (const one of [this.outside, ...this.#neighbours]) one.close();
  }

  /** Another machine beside the host, on a wire of its own; it goes with the lab. */
  neighbour(host: string, own: string): NetworkNamespace {
    const neighbour = createNetworkNamespace();
    this.#neighbours.push(neighbour);
    connect(this.engine.namespace!, neighbour, `wire${this.#neighbours.length}`, [[host, own, 24]]);
    return neighbour;
  }

  /** A container that sleeps, started with these options; gives its name. */
  async run(name: string, ...options: string[]): Promise<string> {
    await this.engine.ok("run", "-d", "--name", name, ...options, "busybox", "sleep", "1000");
    return name;
  }

  async inspect(name: string): Promise<ContainerInspect & { NetworkSettings: Settings }> {
    const answer = await this.engine.api("GET", `/containers/${name}/json`);
    return (await answer.json()) as never;
  }

  /** The container's address in a network. */
  async address(name: string, network: string, family: 4 | 6 = 4): Promise<string> {
    const endpoint = (await this.inspect(name)).NetworkSettings.Networks[network]!;
    return (family === 4 ? endpoint.IPAddress : endpoint.GlobalIPv6Address)!;
  }

  /** The network namespace of a running container; open until the lab stops. */
  async inside(name: string): Promise<number> {
    const { State, Id } = await this.inspect(name);
    let fd = this.#namespaces.get(`${Id} ${State.Pid}`);
    if (fd === undefined) {
      fd = openSync(`/proc/${State.Pid}/ns/net`, "r");
      this.#namespaces.set(`${Id} ${State.Pid}`, fd);
    }
    return fd;
  }

  /** Ends all servers and lets go of all namespaces, so that those of ended containers can go. */
  leave(): void {
    for (const one of this.#open.splice(0)) one.stop();
    for (const fd of this.#namespaces.values()) close(fd);
    this.#namespaces.clear();
  }

  /** Serves tcp and udp on a port, in both families, for as long as the lab lives; answers with the client's address. */
  async serve(where: number, port: number): Promise<void> {
    const tcp = inNetworkNamespace(where, () =>
      Bun.listen({
        hostname: "::",
        port,
        socket: { open: (socket) => void socket.end(plain(socket.remoteAddress)), data: () => undefined },
      }),
    );
    this.#open.push({ stop: () => tcp.stop(true) });
    for (const hostname of ["0.0.0.0", "::"]) {
      const udp = await inNetworkNamespace(where, () =>
        Bun.udpSocket({
          hostname,
          port,
          ...(hostname === "::" ? { flags: V6ONLY } : {}),
          socket: {
            data: (socket: Bun.udp.Socket<"buffer">, _: Buffer, from: number, address: string) =>
              void socket.send(plain(address), from, address),
          },
        } as never),
      );
      this.#open.push({ stop: () => (udp as Bun.udp.Socket<"buffer">).close() });
    }
  }

  /** What the server at the other end says: who the client is to it. */
  ask(from: number, protocol: "tcp" | "udp", address: string, port: number): Promise<string> {
    return eventually(() => this.#try(from, protocol, address, port));
  }

  /** Whether anything comes back at all: twice nothing is no. */
  async reaches(from: number, protocol: "tcp" | "udp", address: string, port: number): Promise<boolean> {
    const once = () => this.#try(from, protocol, address, port);
    return ((await once()) ?? (await once())) !== undefined;
  }

  #try(from: number, protocol: "tcp" | "udp", address: string, port: number): Promise<string | undefined> {
    return protocol === "tcp" ? overTcp(from, address, port) : overUdp(from, address, port);
  }
}

/** By system calls: an attempt that is given up must not go on in the namespace of a container that has ended. */
async function overTcp(from: number, address: string, port: number): Promise<string | undefined> {
  const parsed = parseAddress(address)!;
  const family = AF[parsed.family];
  const type = SOCK_STREAM | k.SOCK_CLOEXEC | k.O_NONBLOCK;
  const fd = inNetworkNamespace(from, () => sys("socket", address, family, type, 0));
  try {
    const name = Buffer.alloc(parsed.family === 4 ? 16 : 28);
    name.writeUInt16LE(family, 0);
    name.writeUInt16BE(port, 2);
    name.set(addressBytes(parsed), parsed.family === 4 ? 4 : 8);
    const started = scratch(() => trySys("connect", fd, bytes(name), name.length));
    if (started !== 0 && started !== -EINPROGRESS) return undefined;
    let said = "";
    for (const end = Date.now() + LOST_MS; Date.now() < end; await Bun.sleep(2)) {
      const buffer = Buffer.alloc(256);
      const n = trySys("recvfrom", fd, addressOf(buffer), buffer.length, 0, 0, 0);
      if (n > 0) said += buffer.toString("latin1", 0, n);
      else if (n === 0) return said || undefined;
      else if (n !== -EAGAIN) return undefined;
    }
    return undefined;
  } finally {
    close(fd);
  }
}
const SOCK_STREAM = 1;
const EINPROGRESS = 115;
const EAGAIN = 11;

async function overUdp(from: number, address: string, port: number): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const timer = setTimeout(() => resolve(undefined), LOST_MS);
  const socket = (await inNetworkNamespace(from, () =>
    Bun.udpSocket({
      hostname: address.includes(":") ? "::" : "0.0.0.0",
      socket: { data: (_: unknown, data: Buffer) => resolve(String(data)), error: () => resolve(undefined) },
    } as never),
  )) as unknown as Bun.udp.Socket<"buffer">;
  try {
    socket.send("?", port, address);
    return await promise;
  } catch {
    // There is no route.
    return undefined;
  } finally {
    clearTimeout(timer);
    socket.close();
  }
}

interface Settings {
  Ports: Record<string, { HostIp: string; HostPort: string }[] | null>;
  Networks: Record<string, EndpointSettings>;
}

/** LIBUS_SOCKET_IPV6_ONLY of Bun's sockets. */
const V6ONLY = 8;
const plain = (address: string) => address.replace(/^::ffff:/, "");

/** Tries until something is there: servers are up before this, so it is neighbour discovery at most. */
export async function eventually<T>(attempt: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + ARRIVES_MS;
  for (;;) {
    const result = await attempt();
    if (result !== undefined) return result;
    if (Date.now() > end) throw new Error("nothing came back");
  }
}

/** A lab for one test file. */
export function labForTests(extra?: string[], options?: { rootless?: UserOptions }): Lab {
  const lab = new Lab(extra, options);
  beforeAll(() => lab.start());
  afterAll(() => lab.stop());
  return lab;
}

/** A wire between two machines, both ends up and with addresses; the host is the other's router. */
function connect(
  host: NetworkNamespace,
  other: NetworkNamespace,
  name: string,
  addresses: readonly (readonly [host: string, other: string, prefix: number])[],
): void {
  const far: Attribute[] = [
    [IFLA_IFNAME, text(name)],
    [IFLA_NET_NS_FD, u32(other.fd)],
  ];
  const peer = encodeLink({ index: 0, attributes: far });
  const attributes: Attribute[] = [[IFLA_IFNAME, text(name)], linkInfo("veth", [[VETH_INFO_PEER, peer]])];
  host.stack.socket.request(linkMessage(name, { index: 0, attributes }, NLM_F_CREATE | NLM_F_EXCL));
  for (const [end, { stack }] of [host, other].entries()) {
    const { index } = stack.link(name)!;
    stack.socket.request(linkMessage(name, { index, flags: IFF_UP, change: IFF_UP }));
    for (const pair of addresses) addAddress(stack, name, pair[end as 0 | 1], pair[2]);
  }
  for (const [router] of addresses) other.stack.setDefaultRoute(name, parseAddress(router)!);
}

function addAddress(stack: NetworkStack, name: string, address: string, prefixLength: number): void {
  const parsed = parseAddress(address)!;
  const bytes = addressBytes(parsed);
  const { index } = stack.link(name)!;
  const family = AF[parsed.family];
  const spec = {
    family,
    prefixLength,
    flags: NODAD,
    scope: 0,
    index,
    address: bytes,
    local: bytes,
    broadcast: undefined,
  };
  stack.socket.request(addressMessage(name, spec, NLM_F_CREATE | NLM_F_EXCL));
}
