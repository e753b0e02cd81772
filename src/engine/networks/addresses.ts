import { InroError, invalid, unavailable } from "../../base/errors.ts";
import {
  contains,
  formatAddress,
  type IpAddress,
  type IpFamily,
  parseAddress,
  parseSubnet,
  type Subnet,
} from "../../network/address.ts";
import type { InterfaceAddress } from "../../network/bridge.ts";
import { AddressPool } from "../../network/pool.ts";
import type { NetworkRecord } from "./records.ts";

/** The addresses of one network: its subnets, gateways, and who has which. In memory; the records of containers say it all. */
export class NetworkAddresses {
  readonly #pools = new Map<IpFamily, AddressPool>();
  readonly #gateways = new Map<IpFamily, IpAddress>();

  constructor(readonly network: NetworkRecord) {
    for (const entry of network.ipam.Config) {
      const subnet = entry.Subnet ? parseSubnet(entry.Subnet) : undefined;
      if (!subnet) continue;
      const pool = new AddressPool(subnet, entry.IPRange ? parseSubnet(entry.IPRange) : undefined);
      this.#pools.set(subnet.family, pool);
      const gateway = entry.Gateway ? parseAddress(entry.Gateway) : undefined;
      if (gateway) {
        this.#gateways.set(subnet.family, gateway);
        pool.take(gateway);
      }
      for (const text of Object.values(entry.AuxiliaryAddresses ?? {})) {
        const address = parseAddress(text);
        if (address) pool.take(address);
      }
    }
  }

  get subnets(): Subnet[] {
    return [...this.#pools.values()].map(({ subnet }) => subnet);
  }

  /** The router of a family: for bridges, the host's own address. */
  gateway(family: IpFamily): IpAddress | undefined {
    return this.#gateways.get(family);
  }

  get gateways(): InterfaceAddress[] {
    return [...this.#gateways].map(([family, address]) => ({ address, subnet: this.#pools.get(family)!.subnet }));
  }

  subnet(family: IpFamily): Subnet | undefined {
    return this.#pools.get(family)?.subnet;
  }

  /** By subnet: how many are in use, and how many there still are. */
  usage(): Map<Subnet, { used: number; available: bigint }> {
    return new Map([...this.#pools.values()].map(({ subnet, used, available }) => [subnet, { used, available }]));
  }

  /** Whether an address that somebody chose could be given. Throws invalid. */
  check(text: string): void {
    const { name, chosen } = this.network;
    if (!chosen) {
      throw invalid(
        `invalid config for network ${name}: invalid endpoint settings: user-specified IP address is supported only when connecting to networks with user configured subnets`,
      );
    }
    const address = parseAddress(text)!;
    if (!this.subnets.some((subnet) => contains(subnet, address))) {
      throw invalid(
        `invalid config for network ${name}: invalid endpoint settings: no configured subnet contains IP address ${text}`,
      );
    }
  }

  /**
   * The address asked for, or the next one; undefined where the network has none of the family. One that is taken is
   * forbidden, and `ownerOf` says whose it is; none left is unavailable.
   */
  take(
    family: IpFamily,
    asked: string | undefined,
    ownerOf: (address: string) => string | undefined,
  ): string | undefined {
    const pool = this.#pools.get(family);
    if (!pool) return undefined;
    if (asked !== undefined) {
      const address = parseAddress(asked)!;
      if (pool.take(address)) return formatAddress(address);
      const owner = ownerOf(formatAddress(address)) ?? "the network itself";
      throw new InroError(
        "forbidden",
        `address ${asked} of network ${this.network.name} is already in use by ${owner}`,
      );
    }
    const address = pool.give();
    if (address) return formatAddress(address);
    throw unavailable(
      `no available IPv${family} addresses on this network's address pools: ${this.network.name} (${this.network.id})`,
    );
  }

  /** Of one that had it before. */
  retake(text: string): void {
    const address = parseAddress(text);
    if (address) this.#pools.get(address.family)?.take(address);
  }

  free(text: string): void {
    const address = parseAddress(text);
    if (address) this.#pools.get(address.family)?.free(address);
  }

  /** With the subnet's length, for the API and for interfaces. */
  interfaceAddress(text: string): InterfaceAddress {
    const address = parseAddress(text)!;
    return { address, subnet: this.#pools.get(address.family)!.subnet };
  }
}
