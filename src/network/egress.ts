import {
  compare,
  counterObject,
  type Expression,
  limit,
  logTo,
  lookup,
  meta,
  payload,
  register,
  verdict,
  verdictMap,
} from "../linux/netlink/nft-expressions.ts";
import {
  type Chain,
  concatenated,
  deleteChain,
  deleteCounter,
  deleteElements,
  deleteSet,
  flushChain,
  type NftSet,
  newCounter,
  newElements,
  type Table,
  TYPES,
} from "../linux/netlink/nftables.ts";
import type { Request } from "../linux/netlink/socket.ts";
import { addressBytes, type IpAddress, type IpFamily } from "./address.ts";
import type { EgressPolicy, EgressRange } from "./egress-policy.ts";
import { FAMILIES, family, inSubnet } from "./firewall-rules.ts";

/** Rules of containers for what they send beyond their networks, in the firewall's table: chains of their own. */

const R = register;
const WORDS: Record<IpFamily, number> = { 4: 1, 6: 4 };
const SOURCE: Record<IpFamily, number> = { 4: 12, 6: 8 };
const DESTINATION: Record<IpFamily, number> = { 4: 16, 6: 24 };
const TYPE: Record<IpFamily, number> = { 4: TYPES.ipv4, 6: TYPES.ipv6 };
const ICMPV6 = Buffer.from([58]);
/** Router and neighbour discovery (RFC 4861), without which IPv6 does not work at all. */
const DISCOVERY = [Buffer.from([133]), Buffer.from([136])] as const;
/** Of all that is denied so many in a second are told of. */
const TOLD_PER_SECOND = 10;

/** A container with rules, and the addresses that it sends from. */
export interface EgressContainer {
  /** Short, of letters and digits: a part of names in the table. */
  key: string;
  policy: EgressPolicy;
  sources: readonly IpAddress[];
}

/** An address that was learned for a name, at one port or all. */
export interface Learned {
  address: IpAddress;
  port?: number;
}

const mapOf = (one: IpFamily) => `egress${one}`;
const chainOf = (key: string) => `egress-${key}`;
const deniedOf = (key: string) => `denied-${key}`;
export const learnedOf = (key: string, one: IpFamily, port: boolean) => `learned${one}${port ? "-at" : ""}-${key}`;

/** Chains by the address that a packet comes from. */
export function egressMaps(firstId: number): NftSet[] {
  return FAMILIES.map((one, i) => ({
    name: mapOf(one),
    id: firstId + i,
    keyType: TYPE[one],
    keyLength: WORDS[one] * 4,
    data: { type: TYPES.verdict, length: 0 },
  }));
}

/** For the chains that see what containers send: each has its own rules. */
export function egressRules(): Expression[][] {
  return FAMILIES.map((one) => [
    ...family(one),
    payload("network", SOURCE[one], WORDS[one] * 4, R(0)),
    verdictMap(mapOf(one), R(0)),
  ]);
}

/** Sets, counter and chains of one container, in the order in which the kernel wants them. */
export function egressParts(
  table: Table,
  { key, policy }: EgressContainer,
  firstId: number,
  group: number | undefined,
): { sets: NftSet[]; counters: Request[]; chains: (Chain & { rules: Expression[][] })[] } {
  const sets = FAMILIES.flatMap((one, i): NftSet[] => [
    { name: learnedOf(key, one, false), id: firstId + i * 2, keyType: TYPE[one], keyLength: WORDS[one] * 4 },
    {
      name: learnedOf(key, one, true),
      id: firstId + i * 2 + 1,
      keyType: concatenated(TYPE[one], TYPES.inetService),
      keyLength: WORDS[one] * 4 + 4,
    },
  ]);
  const denied: Expression[][] = [
    ...(group === undefined ? [] : [[limit(TOLD_PER_SECOND), logTo(group, key)]]),
    [counterObject(deniedOf(key)), verdict("drop")],
  ];
  return {
    sets,
    counters: [newCounter(table, deniedOf(key))],
    chains: [
      { name: deniedOf(key), rules: denied },
      { name: chainOf(key), rules: rulesOf(key, policy) },
    ],
  };
}

function rulesOf(key: string, policy: EgressPolicy): Expression[][] {
  const denied = verdict({ goto: deniedOf(key) });
  const discovery: Expression[] = [
    meta("l4proto", R(0)),
    compare(R(0), "==", ICMPV6),
    payload("transport", 0, 1, R(0)),
    compare(R(0), ">=", DISCOVERY[0]),
    compare(R(0), "<=", DISCOVERY[1]),
    verdict("return"),
  ];
  const learned = FAMILIES.flatMap((one) => [
    [
      ...family(one),
      payload("network", DESTINATION[one], WORDS[one] * 4, R(0)),
      lookup(learnedOf(key, one, false), R(0)),
      verdict("return"),
    ],
    ...PORTED.map((protocol) => [
      ...family(one),
      meta("l4proto", R(0)),
      compare(R(0), "==", protocol),
      payload("network", DESTINATION[one], WORDS[one] * 4, R(0)),
      payload("transport", 2, 2, R(WORDS[one])),
      lookup(learnedOf(key, one, true), R(0)),
      verdict("return"),
    ]),
  ]);
  return [
    discovery,
    ...policy.allow.flatMap((range) => inRange(range).map((rule) => [...rule, verdict("return")])),
    ...policy.deny.flatMap((range) => inRange(range).map((rule) => [...rule, denied])),
    ...(policy.names.length > 0 ? learned : []),
    ...(policy.closed ? [[denied]] : []),
  ];
}

/** tcp, udp. */
const PORTED = [Buffer.from([6]), Buffer.from([17])];

function inRange({ subnet, ports }: EgressRange): Expression[][] {
  const to = inSubnet("destination", subnet);
  if (!ports) return [to];
  const [from, last] = ports.map((port) => Buffer.from([port >> 8, port & 255])) as [Buffer, Buffer];
  return PORTED.map((protocol) => [
    ...to,
    meta("l4proto", R(0)),
    compare(R(0), "==", protocol),
    payload("transport", 2, 2, R(0)),
    compare(R(0), ">=", from),
    compare(R(0), "<=", last),
  ]);
}

/** The container's addresses lead to its chain. */
export function sourceElements(
  table: Table,
  { key, sources }: EgressContainer,
  messages: typeof newElements = newElements,
): Request[] {
  return sources.flatMap((address) =>
    messages(table, mapOf(address.family), [{ key: addressBytes(address), data: { goto: chainOf(key) } }]),
  );
}

export function learnedElements(
  table: Table,
  key: string,
  all: readonly Learned[],
  messages: typeof newElements = newElements,
): Request[] {
  return all.flatMap(({ address, port }) => {
    const bytes = addressBytes(address);
    const element = port === undefined ? bytes : Buffer.concat([bytes, Buffer.from([port >> 8, port & 255, 0, 0])]);
    return messages(table, learnedOf(key, address.family, port !== undefined), [{ key: element }]);
  });
}

/** Takes all of a container's away. */
export function removeEgress(table: Table, container: EgressContainer): Request[] {
  const { key } = container;
  const names = FAMILIES.flatMap((one) => [learnedOf(key, one, false), learnedOf(key, one, true)]);
  return [
    ...sourceElements(table, container, deleteElements),
    ...[chainOf(key), deniedOf(key)].map((name) => flushChain(table, name)),
    ...[chainOf(key), deniedOf(key)].map((name) => deleteChain(table, name)),
    ...names.map((name) => deleteSet(table, name)),
    deleteCounter(table, deniedOf(key)),
  ];
}

export const counterOf = deniedOf;
