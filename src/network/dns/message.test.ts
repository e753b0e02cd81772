import { describe, expect, test } from "bun:test";
import * as packet from "dns-packet";
import { AnswerCache } from "./cache.ts";
import {
  addressesIn,
  answersQuery,
  encodeAnswer,
  fitted,
  type Query,
  RCODE,
  rcodeOf,
  readdressed,
  readQuery,
  ttlOffsets,
} from "./message.ts";
import { addressOf } from "./server.ts";
import { framed, frames } from "./upstream.ts";

function question(name: string, type: packet.RecordType, more: Partial<packet.Packet> = {}): Buffer {
  return packet.encode({ type: "query", id: 7, flags: packet.RECURSION_DESIRED, questions: [{ name, type }], ...more });
}
const asked = (name: string, type: packet.RecordType = "A") => readQuery(question(name, type)) as Query;

function answered(name: string, answers: packet.Answer[], id = 7): Buffer {
  return packet.encode({ type: "response", id, questions: [{ name, type: "A" }], answers });
}

describe("questions", () => {
  test("as they were asked", () => {
    expect(asked("Web.Example")).toMatchObject({ id: 7, name: "Web.Example", type: "A", udpSize: 512 });
    const edns = question("a", "AAAA", {
      additionals: [{ type: "OPT", name: ".", udpPayloadSize: 65000, flags: 0, options: [] } as never],
    });
    expect(readQuery(edns)).toMatchObject({ type: "AAAA", udpSize: 4096 });
  });

  test("what is none: nothing, or why", () => {
    expect(readQuery(Buffer.alloc(3))).toBeUndefined();
    expect(readQuery(answered("a.b", []))).toBeUndefined();
    const update = question("a", "A");
    update[2] = 5 << 3;
    expect(readQuery(update)).toEqual({ id: 7, rcode: RCODE.notImplemented });
    const none = question("a", "A");
    none.writeUInt16BE(0, 4);
    expect(readQuery(none)).toEqual({ id: 7, rcode: RCODE.formatError });
    const whole = question("some.name.of.many.labels", "A");
    for (let length = 12; length < whole.length; length++) {
      expect(readQuery(whole.subarray(0, length))).toEqual({ id: 7, rcode: RCODE.formatError });
    }
    // A name that points at itself.
    const loop = Buffer.concat([whole.subarray(0, 12), Buffer.from([0xc0, 12, 0, 1, 0, 1])]);
    expect(readQuery(loop)).toEqual({ id: 7, rcode: RCODE.formatError });
  });
});

describe("answers", () => {
  test("our own", () => {
    const bytes = encodeAnswer(asked("Web"), RCODE.noError, [{ type: "A", data: "10.0.0.2" }], 5);
    const { id, flag_qr, flag_aa, flag_ra, questions, answers } = packet.decode(bytes);
    expect({ id, flag_qr, flag_aa, flag_ra }).toEqual({ id: 7, flag_qr: true, flag_aa: true, flag_ra: true });
    expect(questions).toMatchObject([{ name: "Web", type: "A" }]);
    expect(answers).toMatchObject([{ name: "Web", type: "A", ttl: 5, data: "10.0.0.2" }]);
    expect(rcodeOf(encodeAnswer(asked("x"), RCODE.nameError))).toBe(3);
  });

  test("of others: to this question, under this id", () => {
    const query = asked("One.example");
    const right = answered("one.EXAMPLE", [], 99);
    expect(answersQuery(right, 99, query)).toBe(true);
    expect(answersQuery(right, 98, query)).toBe(false);
    expect(answersQuery(answered("two.example", [], 99), 99, query)).toBe(false);
    expect(answersQuery(question("One.example", "A", { id: 99 }), 99, query)).toBe(false);
    const back = readdressed(right, query);
    expect(packet.decode(back)).toMatchObject({ id: 7, questions: [{ name: "One.example" }] });
  });

  test("longer than the client takes: its question, marked", () => {
    const query = asked("big.example");
    const many = Array.from({ length: 60 }, (_, i) => ({ type: "A" as const, data: `10.0.0.${i}` }));
    const cut = fitted(encodeAnswer(query, 0, many, 1), query);
    expect(cut.length).toBeLessThan(64);
    expect(packet.decode(cut)).toMatchObject({ flag_tc: true, questions: [{ name: "big.example" }], answers: [] });
  });

  test("their addresses, and where their TTLs stand", () => {
    const bytes = answered("a.b", [
      { type: "CNAME", name: "a.b", ttl: 60, data: "c.d" },
      { type: "A", name: "c.d", ttl: 30, data: "192.0.2.1" },
    ]);
    expect(addressesIn(bytes)).toEqual([{ address: "192.0.2.1", ttl: 30 }]);
    expect(ttlOffsets(bytes).map((at) => bytes.readUInt32BE(at))).toEqual([60, 30]);
    for (let length = 12; length < bytes.length; length++) {
      expect(() => ttlOffsets(bytes.subarray(0, length))).toThrow(RangeError);
    }
  });
});

test("the cache: for as long as the shortest TTL, and with what is left of it", () => {
  const cache = new AnswerCache();
  const bytes = answered("a.b", [
    { type: "A", name: "a.b", ttl: 100, data: "192.0.2.1" },
    { type: "A", name: "a.b", ttl: 20, data: "192.0.2.2" },
  ]);
  cache.put("k", bytes, 0);
  const after = cache.get("k", 5500)!;
  expect(packet.decode(after).answers?.map((one) => (one as { ttl: number }).ttl)).toEqual([95, 15]);
  expect(cache.get("k", 20_001)).toBeUndefined();
  cache.put("failed", encodeAnswer(asked("x"), RCODE.serverFailure), 0);
  expect(cache.get("failed", 1)).toBeUndefined();
});

// biome-ignore format: a table
test.each([
  ["2.1.168.192.in-addr.arpa", "192.168.1.2"],
  [`1.${"0.".repeat(30)}0.ip6.arpa`, "0000:0000:0000:0000:0000:0000:0000:0001"],
  ["web", undefined], ["1.2.3.in-addr.arpa", undefined],
])("the reverse zone: %s", (name, address) => {
  expect(addressOf(name)).toBe(address);
});

test("over TCP, in any pieces", () => {
  const whole = Buffer.concat([framed(Buffer.from("one")), framed(Buffer.alloc(0)), framed(Buffer.alloc(700, 1))]);
  for (const size of [1, 2, 5, whole.length]) {
    let rest: Buffer = Buffer.alloc(0);
    const found: number[] = [];
    for (let at = 0; at < whole.length; at += size) {
      const taken = frames(Buffer.concat([rest, whole.subarray(at, at + size)]));
      rest = taken.rest;
      found.push(...taken.messages.map(({ length }) => length));
    }
    expect([found, rest.length]).toEqual([[3, 0, 700], 0]);
  }
});
