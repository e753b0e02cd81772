import { InroError, messageOf } from "../../base/errors.ts";
import { formatAddress, parseAddress } from "../../network/address.ts";
import type { Firewall, PublishedPort } from "../../network/firewall.ts";
import { holdPort, PortError, releasePort } from "../../network/host-ports.ts";
import { outside } from "../../network/rootless/outside.ts";
import { Relay } from "../../network/rootless/relay.ts";
import type { PortRequest } from "./ports.ts";
import type { PortState } from "./records.ts";

/** Where a container's ports lead to. */
export interface Target {
  ipv4?: string;
  ipv6?: string;
  /** No translation for that family: the container's own address is reached. */
  routed: { 4: boolean; 6: boolean };
  /** For ports without an address of their own. 0.0.0.0 stands for all of IPv6 too. */
  defaultAddress: string;
}

const ANY = "0.0.0.0";
const TRIES = 32;

/** Ports of the host that lead into containers: a socket holds each, so that nobody else takes it. */
export class PublishedPorts {
  /** By container: the sockets, and what the firewall was told. */
  readonly #held = new Map<string, Map<string, { fds: number[]; ports: PublishedPort[] }>>();

  /** For a plain user's engine: the ports are those of a network that it is not in. */
  readonly #relay: Relay | undefined;

  constructor(
    private readonly firewall: Firewall,
    private readonly nameOf: (container: string) => string,
    log: (line: string) => void,
  ) {
    this.#relay = outside() && new Relay(log);
  }

  /** Nothing is passed on any more by this engine. */
  close(): void {
    this.#relay?.end();
  }

  /** Holds the ports that are asked for; all or none. One that is taken is an error that says by whom. */
  reserve(container: string, requests: readonly PortRequest[], target: Target): PortState[] {
    const reserved: PortState[] = [];
    try {
      for (const request of requests) reserved.push(...this.#reserveOne(container, request, target));
      return reserved;
    } catch (error) {
      this.release(container, reserved);
      throw error;
    }
  }

  /** Holds again what an earlier engine has held; the ports lead to the container in any case. */
  adopt(container: string, ports: readonly PortState[], target: Target | undefined, log: (line: string) => void): void {
    for (const port of ports) {
      let fds: number[] = [];
      try {
        const address = parseAddress(port.hostAddress)!;
        if (port.hostPort !== 0) fds = [holdPort(port.protocol, address.family, anyToNone(address), port.hostPort).fd];
      } catch (error) {
        log(`published port ${keyOf(port)}: ${messageOf(error)}`);
      }
      this.#entry(container).set(keyOf(port), { fds, ports: [] });
      const published = target && toPublished(port, target);
      if (published) this.#pass(port, fds[0], published);
    }
  }

  #pass(port: PortState, fd: number | undefined, { container, containerPort }: PublishedPort): void {
    const { protocol } = port;
    if (fd === undefined || protocol === "sctp") return;
    const { family } = container;
    this.#relay?.open({
      open: keyOf(port),
      fd,
      protocol,
      family,
      address: formatAddress(container),
      port: containerPort,
    });
  }

  /** Opens them to the world: from now on packets go to the container. */
  open(container: string, ports: readonly PortState[], target: Target): void {
    const entry = this.#entry(container);
    const all: PublishedPort[] = [];
    for (const port of ports) {
      const published = toPublished(port, target);
      if (!published) continue;
      all.push(published);
      const held = entry.get(keyOf(port));
      held?.ports.push(published);
      this.#pass(port, held?.fds[0], published);
    }
    this.firewall.addPorts(all);
  }

  /** Closes them, and lets go of them; without `ports`, all of the container. */
  release(container: string, ports?: readonly PortState[]): void {
    const entry = this.#held.get(container);
    if (!entry) return;
    const keys = ports ? ports.map(keyOf) : [...entry.keys()];
    const found = keys.flatMap((key) => entry.get(key) ?? []);
    for (const key of keys) {
      this.#relay?.close(key);
      entry.delete(key);
    }
    if (entry.size === 0) this.#held.delete(container);
    try {
      this.firewall.removePorts(found.flatMap((one) => one.ports));
    } finally {
      for (const { fds } of found) for (const fd of fds) releasePort(fd);
    }
  }

  /** The sockets alone: packets go on to the container. */
  letGo(container: string): void {
    for (const [key, { fds }] of this.#held.get(container) ?? []) {
      this.#relay?.close(key);
      for (const fd of fds) releasePort(fd);
    }
    this.#held.delete(container);
  }

  #reserveOne(container: string, request: PortRequest, target: Target): PortState[] {
    const addresses = hostAddresses(request, target);
    const [first, last] = request.hostPorts ?? [0, 0];
    let failure: unknown;
    for (let tries = 0, port = first; tries < TRIES && port <= last; tries++) {
      try {
        return this.#hold(container, request, addresses, target, port);
      } catch (error) {
        // Of a range the next is as good, and of any port another.
        const next = error instanceof PortError && error.code === "EADDRINUSE" && (port === 0 || port < last);
        if (!next) throw error;
        failure = error;
        if (port !== 0) port++;
      }
    }
    throw failure;
  }

  #hold(container: string, request: PortRequest, addresses: string[], target: Target, wanted: number): PortState[] {
    const { protocol, port } = request;
    const states: PortState[] = [];
    let hostPort = wanted;
    try {
      for (const hostAddress of addresses) {
        const address = parseAddress(hostAddress)!;
        if (target.routed[address.family]) {
          const state = { protocol, port, hostAddress, hostPort: 0 };
          this.#entry(container).set(keyOf(state), { fds: [], ports: [] });
          states.push(state);
          continue;
        }
        const other = hostPort === 0 ? undefined : this.#holder(protocol, hostAddress, hostPort);
        if (other !== undefined) {
          const shown = address.family === 6 ? `[${hostAddress}]` : hostAddress;
          throw new PortError(
            `Bind for ${shown}:${hostPort} failed: port is already allocated: container ${this.nameOf(other)} has it`,
            "EADDRINUSE",
          );
        }
        const held = holdPort(protocol, address.family, anyToNone(address), hostPort);
        hostPort = held.port;
        const state = { protocol, port, hostAddress, hostPort };
        this.#entry(container).set(keyOf(state), { fds: [held.fd], ports: [] });
        states.push(state);
      }
      return states;
    } catch (error) {
      this.release(container, states);
      throw error;
    }
  }

  /** The container that has a port of the host already. */
  #holder(protocol: string, hostAddress: string, hostPort: number): string | undefined {
    const any = hostAddress.includes(":") ? "::" : "0.0.0.0";
    for (const [container, entry] of this.#held) {
      for (const key of entry.keys()) {
        const [address, port] = key.split(" ");
        if (port !== `${hostPort}/${protocol}`) continue;
        if (
          address === hostAddress ||
          address === any ||
          (hostAddress === any && address!.includes(":") === any.includes(":"))
        )
          return container;
      }
    }
    return undefined;
  }

  #entry(container: string): Map<string, { fds: number[]; ports: PublishedPort[] }> {
    let entry = this.#held.get(container);
    if (!entry) {
      entry = new Map();
      this.#held.set(container, entry);
    }
    return entry;
  }
}

/** Of one port of the host; a routed one is known by the container's port. */
const keyOf = ({ protocol, port, hostAddress, hostPort }: PortState) =>
  `${hostAddress} ${hostPort || `routed-${port}`}/${protocol}`;

const anyToNone = (address: NonNullable<ReturnType<typeof parseAddress>>) =>
  address.value === 0n ? undefined : address;

/** The addresses of the host for a port: all that the container can be reached by, unless one was named. */
function hostAddresses({ hostAddress, protocol, port }: PortRequest, target: Target): string[] {
  if (hostAddress !== "") {
    const { family } = parseAddress(hostAddress)!;
    if (family === 4 ? target.ipv4 : target.ipv6) return [hostAddress];
    throw new InroError(
      "invalid",
      `publish ${port}/${protocol} at ${hostAddress}: the container has no IPv${family} address`,
    );
  }
  const { defaultAddress, routed } = target;
  const all = defaultAddress === ANY;
  const addresses = [
    ...(target.ipv4 ? [routed[4] ? ANY : defaultAddress] : []),
    ...(target.ipv6 && (all || routed[6]) ? ["::"] : []),
  ];
  if (addresses.length > 0 || !target.ipv6) return addresses;
  // The kernel lets nothing leave loopback with the address ::1.
  throw new InroError(
    "invalid",
    `publish ${port}/${protocol}: the container has IPv6 alone: name an address of this machine, as in [::]:${port}:${port}`,
  );
}

function toPublished({ protocol, port, hostAddress, hostPort }: PortState, target: Target): PublishedPort | undefined {
  const address = parseAddress(hostAddress)!;
  const own = address.family === 4 ? target.ipv4 : target.ipv6;
  if (!own) return undefined;
  const specific = anyToNone(address);
  return {
    protocol,
    hostPort,
    ...(specific ? { hostAddress: specific } : {}),
    container: parseAddress(own)!,
    containerPort: port,
    ...(hostPort === 0 ? { routed: true } : {}),
  };
}
