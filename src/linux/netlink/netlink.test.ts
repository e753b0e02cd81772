import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Attribute, attributesIn, decodeAttributes, encodeAttributes, readText, text, u32 } from "./attributes.ts";
import {
  decodeAck,
  decodeMessages,
  encodeMessage,
  type Message,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLMSG_ERROR,
} from "./message.ts";
import {
  decodeAddress,
  decodeLink,
  encodeAddress,
  encodeLink,
  IFA_FLAGS,
  IFLA_IFNAME,
  IFLA_NET_NS_FD,
} from "./route.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const bytes = (text: string) => Buffer.from(text.replaceAll(/\s/g, ""), "hex");

describe("attributes", () => {
  test.each<[string, Attribute[], string]>([
    ["none", [], ""],
    ["a number", [[8, u32(0x80)]], "0800 0800 80000000"],
    ["text, padded", [[IFLA_IFNAME, text("eth0")]], "0900 0300 6574683000 000000"],
    ["empty", [[1, Buffer.alloc(0)]], "0400 0100"],
    ["nested", [[18, [[1, text("a")]]]], "0c00 1280 0600 0100 6100 0000"],
  ])("%s", (_name, attributes, expected) => {
    expect(hex(encodeAttributes(attributes))).toBe(expected.replaceAll(" ", ""));
  });

  test.each<[string, string]>([
    ["a header cut short", "0800"],
    ["a length under its header", "0300 0100"],
    ["a length past the end", "0900 0100 00000000"],
  ])("refused: %s", (_name, input) => {
    expect(() => decodeAttributes(bytes(input))).toThrow(RangeError);
  });

  test("what is encoded comes back", () => {
    const attribute = fc.tuple(fc.integer({ min: 0, max: 0x3fff }), fc.uint8Array({ maxLength: 64 }));
    fc.assert(
      fc.property(fc.array(attribute, { maxLength: 20 }), (attributes) => {
        const found = [...attributesIn(encodeAttributes(attributes))].map(({ type, value }) => [type, hex(value)]);
        expect(found).toEqual(attributes.map(([type, value]) => [type, hex(value)]));
      }),
    );
  });

  test("any bytes are decoded or refused, never read past", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 128 }), (input) => {
        try {
          for (const { value } of attributesIn(Buffer.from(input))) expect(value.length).toBeLessThan(input.length);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
    );
  });

  test("text ends at its NUL", () => {
    expect(readText(text("lo"))).toBe("lo");
    expect(readText(Buffer.from("lo"))).toBe("lo");
  });
});

describe("messages", () => {
  test("a header, and padding", () => {
    const message = encodeMessage({ type: 18, flags: 5, sequence: 7, payload: Buffer.from([1]) });
    expect(hex(message)).toBe("11000000 1200 0500 07000000 00000000 01 000000".replaceAll(" ", ""));
  });

  test("many in a datagram come back", () => {
    const message = fc.record({
      type: fc.nat(0xffff),
      flags: fc.nat(0xffff),
      sequence: fc.nat(0xffff_ffff),
      payload: fc.uint8Array({ maxLength: 40 }).map((b) => Buffer.from(b)),
    });
    fc.assert(
      fc.property(fc.array(message, { maxLength: 8 }), (messages: Message[]) => {
        const found = [...decodeMessages(Buffer.concat(messages.map(encodeMessage)))];
        expect(found.map((m) => ({ ...m, payload: hex(m.payload) }))).toEqual(
          messages.map((m) => ({ ...m, payload: hex(m.payload) })),
        );
      }),
    );
  });

  test.each([
    ["cut short", "11000000 1200"],
    ["too long", "18000000 1200 0500 07000000 00000000"],
    ["of no length", "00000000 1200 0500 07000000 00000000"],
  ])("refused: %s", (_name, input) => {
    expect(() => [...decodeMessages(bytes(input))]).toThrow(RangeError);
  });

  const ack = (flags: number, payload: string) =>
    decodeAck({ type: NLMSG_ERROR, flags, sequence: 1, payload: bytes(payload) });
  const request = "24000000 1000 0500 01000000 00000000";
  test.each<[string, number, string, ReturnType<typeof decodeAck>]>([
    ["success", NLM_F_CAPPED, `00000000 ${request}`, { errno: 0 }],
    ["an errno", NLM_F_CAPPED, `efffffff ${request}`, { errno: 17 }],
    [
      "with words, capped",
      NLM_F_CAPPED | NLM_F_ACK_TLVS,
      `eaffffff ${request} 0700 0100 6e6f00 00 0800 0200 20000000`,
      { errno: 22, text: "no", offset: 32 },
    ],
    [
      "with words, after the request",
      NLM_F_ACK_TLVS,
      `eaffffff ${request} ${"00".repeat(20)} 0700 0100 6e6f00 00`,
      { errno: 22, text: "no" },
    ],
  ])("an answer: %s", (_name, flags, payload, expected) => {
    expect(ack(flags, payload)).toEqual(expected);
  });

  test("an answer that ends inside the request is refused", () => {
    expect(() => ack(NLM_F_ACK_TLVS, `eaffffff ${request}`)).toThrow(RangeError);
  });
});

describe("rtnetlink", () => {
  test("a link moves", () => {
    const attributes: Attribute[] = [
      [IFLA_NET_NS_FD, u32(9)],
      [IFLA_IFNAME, text("eth1")],
    ];
    expect(hex(encodeLink({ index: 5, attributes }))).toBe(
      "00000000 05000000 00000000 00000000 0800 1c00 09000000 0900 0300 6574683100 000000".replaceAll(" ", ""),
    );
    expect(hex(encodeLink({ index: 5, flags: 1, change: 1 }))).toBe("00000000050000000100000001000000");
  });

  test("a link is read", () => {
    const payload = bytes("0000 0403 01000000 49000100 00000000 0700 0300 6c6f00 00");
    expect(decodeLink(payload)).toEqual({ index: 1, flags: 0x10049, name: "lo" });
    expect(() => decodeLink(payload.subarray(0, 12))).toThrow(RangeError);
  });

  test("an address is read, and made anew without its state and label", () => {
    const payload = bytes(
      "02 18 80 00 07000000 0800 0200 0a000001 0800 0100 0a000002 0800 0400 0a0000ff 0900 0300 6574683000 000000 0800 0800 80020000",
    );
    const address = decodeAddress(payload);
    expect(address).toMatchObject({ family: 2, prefixLength: 24, flags: 0x280, scope: 0, index: 7 });
    expect(hex(encodeAddress({ ...address, index: 3 }))).toBe(
      "02180000 03000000 0800 0200 0a000001 0800 0100 0a000002 0800 0400 0a0000ff 0800 0800 00020000".replaceAll(
        " ",
        "",
      ),
    );
    expect(decodeAttributes(payload.subarray(8)).has(IFA_FLAGS)).toBe(true);
    expect(() => decodeAddress(payload.subarray(0, 6))).toThrow(RangeError);
  });
});
