import { randomBytes } from "node:crypto";
import { addressOfBytes, overlap, parseSubnet, type Subnet, sizeOf, subnetOf } from "./address.ts";

/** Where networks get a subnet from that nobody chose, as docker has it: parts of `base` of `prefix` bits. */
const POOLS = [
  ...Array.from({ length: 15 }, (_, i) => ({ base: `172.${17 + i}.0.0/16`, prefix: 16 })),
  { base: "192.168.0.0/16", prefix: 20 },
].map(({ base, prefix }) => ({ base: parseSubnet(base)!, prefix }));

/** The first subnet that overlaps none of `taken`; undefined when all do. */
export function chooseSubnet(taken: readonly Subnet[]): Subnet | undefined {
  for (const { base, prefix } of POOLS) {
    const step = 1n << BigInt(32 - prefix);
    for (let at = base.base; at < base.base + sizeOf(base); at += step) {
      const subnet: Subnet = { family: 4, base: at, prefix };
      if (!taken.some((other) => overlap(other, subnet))) return subnet;
    }
  }
  return undefined;
}

/** A /64 of unique local addresses with a random global id (RFC 4193). */
export function chooseV6Subnet(taken: readonly Subnet[]): Subnet {
  for (;;) {
    const bytes = Buffer.concat([Buffer.from([0xfd]), randomBytes(7), Buffer.alloc(8)]);
    const subnet = subnetOf(addressOfBytes(bytes), 64);
    if (!taken.some((other) => overlap(other, subnet))) return subnet;
  }
}
