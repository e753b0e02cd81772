/** IP addresses and subnets as numbers: pure. Text that is none is undefined, for the caller to say where it came from. */

export type IpFamily = 4 | 6;

export interface IpAddress {
  family: IpFamily;
  value: bigint;
}

export interface Subnet {
  family: IpFamily;
  /** Host bits are 0. */
  base: bigint;
  prefix: number;
}

export const BITS: Record<IpFamily, number> = { 4: 32, 6: 128 };
/** AF_INET and AF_INET6. */
export const AF: Record<IpFamily, number> = { 4: 2, 6: 10 };

/** Dotted quad without leading zeros, or RFC 4291's forms; no zone, no brackets. */
export function parseAddress(text: string): IpAddress | undefined {
  const family = text.includes(":") ? 6 : 4;
  const value = family === 6 ? parseV6(text) : parseV4(text);
  return value === undefined ? undefined : { family, value };
}

function parseV4(text: string): bigint | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256))
    return undefined;
  return parts.reduce((all, part) => all * 256n + BigInt(part), 0n);
}

function parseV6(text: string): bigint | undefined {
  if (text.length > 45) return undefined;
  const v4 = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (v4) {
    const low = parseV4(v4[2]!);
    if (low === undefined) return undefined;
    return parseV6(`${v4[1]}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`);
  }
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const groups = halves.map((half) => (half === "" ? [] : half.split(":")));
  const count = groups.reduce((all, half) => all + half.length, 0);
  if (halves.length === 1 ? count !== 8 : count > 7) return undefined;
  if (!groups.flat().every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return undefined;
  const zeros = Array<string>(8 - count).fill("0");
  return [...groups[0]!, ...(halves.length === 2 ? zeros : []), ...(groups[1] ?? [])].reduce(
    (all, group) => all * 65536n + BigInt(`0x${group}`),
    0n,
  );
}

/** IPv6 as RFC 5952 has it. */
export function formatAddress({ family, value }: IpAddress): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join(".");
  const groups = Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(112 - 16 * i)) & 0xffffn));
  let best = { start: 0, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(":");
  if (best.length < 2) return hex(groups);
  return `${hex(groups.slice(0, best.start))}::${hex(groups.slice(best.start + best.length))}`;
}

/** Network byte order. */
export function addressBytes({ family, value }: IpAddress): Buffer {
  return Buffer.from(value.toString(16).padStart(BITS[family] / 4, "0"), "hex");
}

export function addressOfBytes(bytes: Uint8Array): IpAddress {
  return { family: bytes.length === 4 ? 4 : 6, value: BigInt(`0x${Buffer.from(bytes).toString("hex")}`) };
}

/** `10.0.0.0/8`; of an address with host bits, the subnet that it is in. */
export function parseSubnet(text: string): Subnet | undefined {
  const [, host = "", length = ""] = /^([0-9a-fA-F.:]+)\/(\d{1,3})$/.exec(text) ?? [];
  const address = parseAddress(host);
  if (!address || Number(length) > BITS[address.family]) return undefined;
  return subnetOf(address, Number(length));
}

export function subnetOf({ family, value }: IpAddress, prefix: number): Subnet {
  const host = BigInt(BITS[family] - prefix);
  return { family, base: (value >> host) << host, prefix };
}

export function formatSubnet({ family, base, prefix }: Subnet): string {
  return `${formatAddress({ family, value: base })}/${prefix}`;
}

/** How many addresses there are in it. */
export const sizeOf = ({ family, prefix }: Subnet): bigint => 1n << BigInt(BITS[family] - prefix);

export function contains(subnet: Subnet, { family, value }: IpAddress): boolean {
  return family === subnet.family && value >= subnet.base && value < subnet.base + sizeOf(subnet);
}

export function overlap(a: Subnet, b: Subnet): boolean {
  return a.family === b.family && a.base < b.base + sizeOf(b) && b.base < a.base + sizeOf(a);
}
