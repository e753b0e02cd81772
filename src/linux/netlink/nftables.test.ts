import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { encodeAttributes } from "./attributes.ts";
import { compare, meta, nat, register, verdict } from "./nft-expressions.ts";
import {
  concatenated,
  decodeElements,
  deleteTable,
  newChain,
  newElements,
  newRule,
  newSet,
  newTable,
  removesFrom,
  TYPES,
} from "./nftables.ts";
import { decodeRoute, encodeRoute, linkInfo, slaveInfo } from "./route.ts";

const table = { family: "inet", name: "t" } as const;
/** In words of four bytes. */
const hex = (bytes: Uint8Array) =>
  Buffer.from(bytes)
    .toString("hex")
    .replace(/(.{8})(?=.)/g, "$1 ");
/** nfgenmsg of family inet, and NFTA_*_TABLE "t". */
const HEAD = "01000000 06000100 74000000";

describe("nf_tables messages, by bytes", () => {
  test("a table", () => expect(hex(newTable(table).payload)).toBe(HEAD));

  test("a base chain: hook, priority, policy, type", () => {
    const chain = { name: "c", base: { type: "nat", hook: "prerouting", priority: -100 } } as const;
    expect(hex(newChain(table, chain).payload)).toBe(
      `${HEAD} 06000300 63000000 14000480 08000100 00000000 08000200 ffffff9c 08000500 00000001 08000700 6e617400`,
    );
  });

  test("a rule: meta l4proto 6 accept", () => {
    const rule = [meta("l4proto", register(0)), compare(register(0), "==", Buffer.from([6])), verdict("accept")];
    expect(hex(newRule(table, "c", rule).payload)).toBe(
      [
        `${HEAD} 06000200 63000000 84000480`,
        "24000180 09000100 6d657461 00000000 14000280 08000200 00000010 08000100 00000008",
        "2c000180 08000100 636d7000 20000280 08000100 00000008 08000200 00000000 0c000380 05000100 06000000",
        "30000180 0e000100 696d6d65 64696174 65000000 1c000280 08000100 00000000 10000280 0c000280 08000100 00000001",
      ].join(" "),
    );
  });

  test("a map, and an element", () => {
    const set = { name: "s", id: 1, keyType: TYPES.ipv4, keyLength: 4, data: { type: TYPES.inetService, length: 2 } };
    expect(hex(newSet(table, set).payload)).toBe(
      `${HEAD} 06000200 73000000 08000300 00000008 08000400 00000007 08000500 00000004 08000600 0000000d 08000700 00000002 08000a00 00000001`,
    );
    const [message] = newElements(table, "s", [{ key: Buffer.from([10, 0, 0, 1]), data: Buffer.from([0, 80]) }]);
    expect(hex(message!.payload)).toBe(
      `${HEAD} 06000200 73000000 20000380 1c000180 0c000180 08000100 0a000001 0c000280 06000100 00500000`,
    );
  });

  test("nat from registers, a jump, a concatenated type", () => {
    expect(hex(encodeAttributes(nat("destination", 2, { address: 10, port: 11 })[1]))).toBe(
      "08000100 00000001 08000200 00000002 08000300 0000000a 08000500 0000000b",
    );
    expect(hex(encodeAttributes(verdict({ jump: "p" })[1]))).toBe(
      "08000100 00000000 18000280 14000280 08000100 fffffffd 06000200 70000000",
    );
    expect(concatenated(TYPES.ipv4, TYPES.inetService)).toBe((7 << 6) | 13);
  });
});

describe("round trips", () => {
  test("elements, however many", () => {
    const element = fc.record({
      key: fc.uint8Array({ minLength: 1, maxLength: 24 }),
      data: fc.option(fc.uint8Array({ minLength: 1, maxLength: 20 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(element, { maxLength: 900 }), (elements) => {
        const given = elements.map(({ key, data }) => ({ key, ...(data ? { data } : {}) }));
        const found = newElements(table, "s", given).flatMap(({ payload }) => decodeElements(payload));
        const plain = (list: { key: Uint8Array; data?: Uint8Array }[]) =>
          list.map(({ key, data }) => [hex(key), data && hex(data)]);
        expect(plain(found)).toEqual(plain(given));
      }),
      { numRuns: 20 },
    );
  });

  test("any bytes are elements or refused", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 4, maxLength: 128 }), (bytes) => {
        try {
          decodeElements(Buffer.from(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
    );
  });

  test("routes", () => {
    const route = fc.record({
      family: fc.constantFrom(2, 10),
      prefixLength: fc.nat(128),
      destination: fc.uint8Array({ minLength: 4, maxLength: 4 }).map((b) => Buffer.from(b)),
      gateway: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((b) => Buffer.from(b)),
      link: fc.nat(0x7fffffff),
      priority: fc.nat(0xffffffff),
    });
    fc.assert(
      fc.property(route, (given) => {
        expect(decodeRoute(encodeRoute(given))).toEqual({ ...given, type: 1 });
      }),
    );
    expect(() => decodeRoute(Buffer.alloc(11))).toThrow(RangeError);
  });
});

test("links, by bytes", () => {
  expect(hex(encodeAttributes([linkInfo("veth", [[1, Buffer.alloc(4)]])]))).toBe(
    "18001280 08000100 76657468 0c000280 08000100 00000000",
  );
  expect(hex(encodeAttributes([slaveInfo("bridge", [[4, Buffer.from([1])]])]))).toBe(
    "1c001280 0a000400 62726964 67650000 0c000580 05000400 01000000",
  );
});

test("what takes something out of a table", () => {
  const told = (name: string, type: number, payload = deleteTable({ family: "inet", name }).payload) =>
    removesFrom({ type, flags: 0, sequence: 0, payload }, table);
  const NFTABLES = 10 << 8;
  expect(told("t", NFTABLES | 2)).toBe(true);
  expect(told("t", NFTABLES | 8)).toBe(true);
  expect(told("t", NFTABLES | 0)).toBe(false);
  expect(told("other", NFTABLES | 2)).toBe(false);
  expect(told("t", (1 << 8) | 2)).toBe(false);
  expect(told("t", NFTABLES | 2, Buffer.alloc(2))).toBe(false);
});
