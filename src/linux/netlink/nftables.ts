import {
  type Attribute,
  attributesIn,
  be32,
  be64,
  decodeAttributes,
  encodeAttributes,
  readText,
  text,
} from "./attributes.ts";
import { type Message, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL } from "./message.ts";
import { COUNTER, type Expression, VALUE, type Verdict, verdictData } from "./nft-expressions.ts";
import { NetlinkSocket, NLM_F_NO_ACK, type Request } from "./socket.ts";

/** nf_tables over nfnetlink (linux/netfilter/nf_tables.h): messages, pure; and the socket that carries transactions. */

export const NFPROTO = { inet: 1, ipv4: 2, arp: 3, netdev: 5, bridge: 7, ipv6: 10 } as const;
export type Family = keyof typeof NFPROTO;

export interface Table {
  family: Family;
  name: string;
}

export type Hook = "prerouting" | "input" | "forward" | "output" | "postrouting";
const HOOKS: Record<Hook, number> = { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4 };

export interface Chain {
  name: string;
  /** Where the kernel calls it; one without is called by others. Policy: accept. */
  base?: { type: "filter" | "nat" | "route"; hook: Hook; priority: number };
}

/** Types as nft(8) knows them, so that it can show a set's content: 6 bits each, the first in the highest. */
export const TYPES = { verdict: 1, ipv4: 7, ipv6: 8, ether: 9, inetProto: 12, inetService: 13, mark: 19, ifname: 41 };
export const concatenated = (...types: number[]): number => types.reduce((all, type) => (all << 6) | type, 0);

export interface NftSet {
  name: string;
  /** Of one transaction, each its own. */
  id: number;
  keyType: number;
  /** Bytes; parts of a concatenation fill up to multiples of 4. */
  keyLength: number;
  /** A map. Verdicts have no length. */
  data?: { type: number; length: number };
  /** Ranges, each given as its first element and, marked as an end, the one after it. */
  interval?: boolean;
  /** Milliseconds after which elements go. */
  timeout?: number;
  /** Rules put elements in. */
  dynamic?: boolean;
}

export interface Element {
  key: Uint8Array;
  data?: Uint8Array | Verdict;
  /** Of an interval: the first key that is not in it any more. */
  end?: boolean;
}

const NFNL_SUBSYS_NFTABLES = 10;
const HEADER = 4;
const NFT = {
  newTable: 0,
  getTable: 1,
  delTable: 2,
  newChain: 3,
  getChain: 4,
  newRule: 6,
  delRule: 8,
  newSet: 9,
  newElements: 12,
  getElements: 13,
  delElements: 14,
  delChain: 5,
  delSet: 11,
  newObject: 18,
  getObject: 19,
  delObject: 20,
} as const;
const VERDICT_TYPE = 0xffffff00;

function message(
  kind: keyof typeof NFT,
  table: Table,
  object: string,
  attributes: readonly Attribute[],
  flags = 0,
): Request {
  const header = Buffer.from([NFPROTO[table.family], 0, 0, 0]);
  return {
    type: (NFNL_SUBSYS_NFTABLES << 8) | NFT[kind],
    flags: flags | NLM_F_NO_ACK,
    payload: Buffer.concat([header, encodeAttributes(attributes)]),
    operation: `nf_tables ${kind}`,
    object,
    header: HEADER,
    attributes: {},
  };
}

/** Without `exclusive`, one that is there stays as it is. */
export function newTable(table: Table, exclusive = false): Request {
  const flags = NLM_F_CREATE | (exclusive ? NLM_F_EXCL : 0);
  return message("newTable", table, table.name, [[1, text(table.name)]], flags);
}

/** With all that is in it. ENOENT where there is none. */
export function deleteTable(table: Table): Request {
  return message("delTable", table, table.name, [[1, text(table.name)]]);
}

export function newChain(table: Table, { name, base }: Chain): Request {
  const attributes: Attribute[] = [
    [1, text(table.name)],
    [3, text(name)],
  ];
  if (base) {
    attributes.push(
      [
        4,
        [
          [1, be32(HOOKS[base.hook])],
          [2, be32(base.priority)],
        ],
      ],
      [5, be32(1)],
      [7, text(base.type)],
    );
  }
  return message("newChain", table, name, attributes, NLM_F_CREATE);
}

/** EBUSY where a rule leads to it, or it has some. */
export function deleteChain(table: Table, chain: string): Request {
  const attributes: Attribute[] = [
    [1, text(table.name)],
    [3, text(chain)],
  ];
  return message("delChain", table, chain, attributes);
}

/** Takes all rules out of a chain. */
export function flushChain(table: Table, chain: string): Request {
  const attributes: Attribute[] = [
    [1, text(table.name)],
    [2, text(chain)],
  ];
  return message("delRule", table, chain, attributes);
}

/** EBUSY where a rule uses it. */
export function deleteSet(table: Table, set: string): Request {
  const attributes: Attribute[] = [
    [1, text(table.name)],
    [2, text(set)],
  ];
  return message("delSet", table, set, attributes);
}

const counter = (table: Table, name: string): Attribute[] => [
  [1, text(table.name)],
  [2, text(name)],
  [3, be32(COUNTER)],
];

/** One that is there goes on counting. */
export function newCounter(table: Table, name: string): Request {
  return message("newObject", table, name, [...counter(table, name), [4, []]], NLM_F_CREATE);
}

/** EBUSY where a rule uses it. */
export function deleteCounter(table: Table, name: string): Request {
  return message("delObject", table, name, counter(table, name));
}

/** At the end of its chain. */
export function newRule(table: Table, chain: string, expressions: readonly Expression[]): Request {
  const list = expressions.map(
    ([name, data]): Attribute => [
      1,
      [
        [1, text(name)],
        [2, data],
      ],
    ],
  );
  const attributes: Attribute[] = [
    [1, text(table.name)],
    [2, text(chain)],
    [4, list],
  ];
  return message("newRule", table, `rule of ${chain}`, attributes, NLM_F_CREATE | NLM_F_APPEND);
}
const NLM_F_APPEND = 0x800;

/** Takes all rules out of the table's chains. */
export function flushRules(table: Table): Request {
  return message("delRule", table, table.name, [[1, text(table.name)]]);
}

export function newSet(table: Table, set: NftSet): Request {
  const { data } = set;
  const flags =
    (set.interval ? 0x4 : 0) | (data ? 0x8 : 0) | (set.timeout !== undefined ? 0x10 : 0) | (set.dynamic ? 0x20 : 0);
  const attributes: Attribute[] = [
    [1, text(table.name)],
    [2, text(set.name)],
    [3, be32(flags)],
    [4, be32(set.keyType)],
    [5, be32(set.keyLength)],
  ];
  if (data) {
    attributes.push([6, be32(data.type === TYPES.verdict ? VERDICT_TYPE : data.type)]);
    if (data.type !== TYPES.verdict) attributes.push([7, be32(data.length)]);
  }
  attributes.push([10, be32(set.id)]);
  if (set.timeout !== undefined) attributes.push([11, be64(set.timeout)]);
  return message("newSet", table, set.name, attributes, NLM_F_CREATE);
}

/** So many fit into one message, whatever they are. */
const ELEMENTS_AT_ONCE = 400;

/** Adding what is there already is no error; another value for its key is EEXIST. */
export function newElements(table: Table, set: string, elements: readonly Element[]): Request[] {
  return elementMessages("newElements", table, set, elements, NLM_F_CREATE);
}

/** One that is not there is ENOENT. */
export function deleteElements(table: Table, set: string, elements: readonly Element[]): Request[] {
  return elementMessages("delElements", table, set, elements, 0);
}

function elementMessages(
  kind: "newElements" | "delElements",
  table: Table,
  set: string,
  elements: readonly Element[],
  flags: number,
): Request[] {
  const requests: Request[] = [];
  for (let at = 0; at < elements.length; at += ELEMENTS_AT_ONCE) {
    const list = elements.slice(at, at + ELEMENTS_AT_ONCE).map((element): Attribute => [1, encodeElement(element)]);
    const attributes: Attribute[] = [
      [1, text(table.name)],
      [2, text(set)],
      [3, list],
    ];
    requests.push(message(kind, table, set, attributes, flags));
  }
  return requests;
}

function encodeElement({ key, data, end }: Element): Attribute[] {
  const attributes: Attribute[] = [[1, [[VALUE, key]]]];
  if (data instanceof Uint8Array) attributes.push([2, [[VALUE, data]]]);
  else if (data) attributes.push([2, verdictData(data)]);
  if (end) attributes.push([3, be32(1)]);
  return attributes;
}

/** Whether a message tells that something was taken out of the table, or the table itself. */
export function removesFrom({ type, payload }: Message, table: Table): boolean {
  if (type >> 8 !== NFNL_SUBSYS_NFTABLES || !REMOVALS.has(type & 0xff)) return false;
  if (payload.length < HEADER || payload[0] !== NFPROTO[table.family]) return false;
  const name = decodeAttributes(payload.subarray(HEADER)).get(1);
  return name !== undefined && readText(name) === table.name;
}
/** Of tables, chains, rules, sets and elements. */
const REMOVALS = new Set([2, 5, 8, 11, 14]);

/** Keys, and values of a map, of a newElements message. A length that does not fit is a RangeError. */
export function decodeElements(payload: Buffer): { key: Buffer; data?: Buffer }[] {
  const list = decodeAttributes(payload.subarray(HEADER)).get(3);
  if (!list) return [];
  const found: { key: Buffer; data?: Buffer }[] = [];
  for (const { value: element } of attributesIn(list)) {
    const attributes = decodeAttributes(element);
    const value = (type: number) => {
      const nested = attributes.get(type);
      return nested && decodeAttributes(nested).get(VALUE);
    };
    const [key, data] = [value(1), value(2)];
    if (key) found.push({ key, ...(data ? { data } : {}) });
  }
  return found;
}

export const NETLINK_NETFILTER = 12;
export const NFNLGRP_NFTABLES = 7;
const NFNL_MSG_BATCH_BEGIN = 16;
const NFNL_MSG_BATCH_END = 17;

function batchEdge(type: number): Request {
  return {
    type,
    flags: NLM_F_NO_ACK,
    // The subsystem, in network byte order.
    payload: Buffer.from([0, 0, 0, NFNL_SUBSYS_NFTABLES]),
    operation: "nf_tables transaction",
    object: "",
    header: HEADER,
    attributes: {},
  };
}

/** A NETLINK_NETFILTER socket. Its owner closes it. */
export class NftSocket extends NetlinkSocket {
  constructor(namespace?: number) {
    super(NETLINK_NETFILTER, namespace);
  }

  /** Carries out all or none. */
  transaction(requests: readonly Request[]): void {
    if (requests.length === 0) return;
    this.all([batchEdge(NFNL_MSG_BATCH_BEGIN), ...requests, batchEdge(NFNL_MSG_BATCH_END)]);
  }

  /** Names of all tables of a family. */
  tables(family: Family): string[] {
    const request = message("getTable", { family, name: "" }, "all", [], NLM_F_DUMP);
    const answers = this.request({ ...request, flags: NLM_F_DUMP });
    return answers.map(({ payload }) => {
      const name = decodeAttributes(payload.subarray(HEADER)).get(1);
      return name ? readText(name) : "";
    });
  }

  /** Base chains of all tables that begin with dropping what no rule of theirs accepts. */
  droppingChains(hook: Hook): { family: number; table: string; name: string }[] {
    const request = message("getChain", { family: "inet", name: "" }, "all", [], NLM_F_DUMP);
    const payload = Buffer.alloc(HEADER);
    return this.request({ ...request, flags: NLM_F_DUMP, payload }).flatMap(({ payload: found }) => {
      const attributes = decodeAttributes(found.subarray(HEADER));
      const [table, name, base, policy] = [1, 3, 4, 5].map((type) => attributes.get(type));
      if (!table || !name || !base || !policy || policy.length < 4 || policy.readUInt32BE(0) !== 0) return [];
      const number = decodeAttributes(base).get(1);
      if (!number || number.length < 4 || number.readUInt32BE(0) !== HOOKS[hook]) return [];
      return [{ family: found[0]!, table: readText(table), name: readText(name) }];
    });
  }

  /** What a counter has counted; ENOENT where there is none. */
  counter(table: Table, name: string): { packets: number; bytes: number } {
    const { header: _, ...request } = message("getObject", table, name, counter(table, name));
    const [answer] = this.request({ ...request, header: HEADER, flags: 0 });
    const data = answer && decodeAttributes(answer.payload.subarray(HEADER)).get(4);
    const values = data && decodeAttributes(data);
    const read = (type: number) => Number(values?.get(type)?.readBigUInt64BE() ?? 0n);
    return { packets: read(2), bytes: read(1) };
  }

  /** What is in a set; ENOENT where there is none. */
  elements(table: Table, set: string): { key: Buffer; data?: Buffer }[] {
    const attributes: Attribute[] = [
      [1, text(table.name)],
      [2, text(set)],
    ];
    const request = message("getElements", table, set, attributes);
    return this.request({ ...request, flags: NLM_F_DUMP }).flatMap(({ payload }) => decodeElements(payload));
  }
}
