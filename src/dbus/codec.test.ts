import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Reader, type Value, Writer } from "./marshal.ts";
import { decodeMessage, encodeMessage, METHOD_CALL, type Message } from "./message.ts";
import { parseSignature, signatureOf } from "./signature.ts";

const hex = (text: string) => Buffer.from(text.replace(/\s/g, ""), "hex");

function written(signature: string, values: Value[]): Buffer {
  const writer = new Writer();
  writer.body(signature, values);
  return writer.bytes;
}

describe("values", () => {
  test.each<[string, Value[], string]>([
    ["y", [7], "07"],
    ["b", [true], "01000000"],
    ["n", [-2], "feff"],
    ["yu", [1, 2], "01000000 02000000"],
    ["yt", [1, 2n ** 64n - 1n], "0100000000000000 ffffffffffffffff"],
    ["x", [-1n], "ffffffffffffffff"],
    ["s", ["hé"], "03000000 68c3a9 00"],
    ["g", ["a{sv}"], "05 617b73767d 00"],
    ["o", ["/a/b"], "04000000 2f612f62 00"],
    ["v", [{ signature: "u", value: 5 }], "01 75 00 00 05000000"],
    ["au", [[1, 2]], "08000000 01000000 02000000"],
    // An empty array of 8-aligned values is padded all the same.
    ["at", [[]], "00000000 00000000"],
    ["(yu)", [[1, 2]], "01000000 02000000"],
    ["a(sv)", [[["A", { signature: "b", value: true }]]], "10000000 00000000 01000000 4100 01 62 00 000000 01000000"],
  ])("%s", (signature, values, bytes) => {
    expect(written(signature, values).toString("hex")).toBe(hex(bytes).toString("hex"));
    expect(new Reader(hex(bytes), true).body(signature)).toEqual(values);
  });

  test("big-endian is read too", () => {
    expect(new Reader(hex("00000003 686579 00 0000000000000009"), false).body("st")).toEqual(["hey", 9n]);
  });

  test.each<[string, Value[]]>([
    ["y", [256]],
    ["u", [-1]],
    ["u", [1.5]],
    ["t", [5]],
    ["t", [2n ** 64n]],
    ["s", ["a\0b"]],
    ["o", ["a"]],
    ["o", ["/a/"]],
    ["g", ["a"]],
    ["v", [{ signature: "uu", value: 5 }]],
    ["(uu)", [[1]]],
    ["b", [1]],
    ["u", []],
  ])("%s of %p is refused", (signature, values) => {
    expect(() => written(signature, values)).toThrow(expect.objectContaining({ kind: "invalid" }));
  });
});

describe("signatures", () => {
  test.each(["", "u", "a(sv)", "a{sv}", "a(sa(sv))", "aaay", "(u(ss)v)"])("%s", (text) => {
    expect(parseSignature(text).map(signatureOf).join("")).toBe(text);
  });
  test.each(["a", "(", "()", "{sv}", "a{vs}", "a{s}", "z", ")", "u)", `${"a".repeat(40)}u`, "u".repeat(256)])(
    "%s is refused",
    (text) => expect(() => parseSignature(text)).toThrow("malformed"),
  );
});

const text = fc.string().filter((s) => !s.includes("\0"));
const basic: Record<string, fc.Arbitrary<Value>> = {
  y: fc.nat(255),
  b: fc.boolean(),
  q: fc.nat(65535),
  n: fc.integer({ min: -32768, max: 32767 }),
  i: fc.integer(),
  u: fc.nat(0xffff_ffff),
  x: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
  t: fc.bigInt(0n, 2n ** 64n - 1n),
  d: fc.double({ noNaN: true }),
  s: text,
};
const typed: fc.Arbitrary<{ signature: string; value: Value }> = fc.letrec((tie) => ({
  any: fc.oneof(
    { depthSize: "small" },
    fc
      .constantFrom(...Object.keys(basic))
      .chain((signature) => basic[signature]!.map((value) => ({ signature, value }))),
    tie("any").map((inner) => ({ signature: "v", value: inner as Value })),
    fc
      .constantFrom(...Object.keys(basic))
      .chain((code) => fc.array(basic[code]!).map((value) => ({ signature: `a${code}`, value }))),
    fc
      .array(tie("any") as fc.Arbitrary<{ signature: string; value: Value }>, { minLength: 1, maxLength: 3 })
      .map((fields) => ({
        signature: `(${fields.map((f) => f.signature).join("")})`,
        value: fields.map((f) => f.value),
      })),
  ),
})).any as never;

test("what is written is read back", () => {
  fc.assert(
    fc.property(fc.array(typed, { maxLength: 4 }), (fields) => {
      const signature = fields.map((f) => f.signature).join("");
      if (signature.length > 255) return;
      const message: Message = {
        ...{ type: METHOD_CALL, serial: 9, path: "/a", interface: "a.b", member: "C", destination: "d.e" },
        ...(signature && { signature }),
        body: fields.map((f) => f.value),
      };
      const bytes = encodeMessage(message);
      expect(decodeMessage(bytes)).toEqual({ message, length: bytes.length });
      for (const cut of [0, 1, 15, 16, bytes.length - 1]) expect(decodeMessage(bytes.subarray(0, cut))).toBeUndefined();
    }),
    { numRuns: 200 },
  );
});

test("any bytes are a message, not yet one, or an error", () => {
  const bytes = encodeMessage({
    ...{ type: METHOD_CALL, serial: 1, path: "/a", member: "M", signature: "a(sv)" },
    body: [[["x", { signature: "as", value: ["y", "z"] }]]],
  });
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, value) => {
      const broken = Buffer.from(bytes);
      broken[at] = value;
      try {
        decodeMessage(broken);
      } catch (error) {
        expect(error).toMatchObject({ kind: "invalid" });
      }
    }),
    { numRuns: 1000 },
  );
});

test("a message by bytes: Hello", () => {
  const hello = hex(
    `6c 01 00 01 00000000 01000000 6d000000
     01 01 6f 00 15000000 2f6f72672f667265656465736b746f702f44427573 00 0000
     02 01 73 00 14000000 6f72672e667265656465736b746f702e44427573 00 000000
     03 01 73 00 05000000 48656c6c6f 00 0000
     06 01 73 00 14000000 6f72672e667265656465736b746f702e44427573 00 000000`,
  );
  const message: Message = {
    ...{ type: METHOD_CALL, serial: 1, path: "/org/freedesktop/DBus", interface: "org.freedesktop.DBus" },
    ...{ member: "Hello", destination: "org.freedesktop.DBus", body: [] },
  };
  expect(decodeMessage(hello)?.message).toEqual(message);
  expect(encodeMessage(message).toString("hex")).toBe(hello.toString("hex"));
});
