import { describe, expect, test } from "bun:test";
import { MessageReader, MessageWriter } from "./protobuf.ts";
import { encodeStatus } from "./status.ts";

describe("protocol buffers", () => {
  // protobuf.dev/programming-guides/encoding has the first two.
  const golden: [name: string, message: MessageWriter, hex: string][] = [
    ["a varint", new MessageWriter().uint(1, 150), "089601"],
    ["a text", new MessageWriter().text(2, "testing"), "120774657374696e67"],
    ["a negative number", new MessageWriter().uint(1, -1n), "08ffffffffffffffffff01"],
    ["defaults are left out", new MessageWriter().uint(1, 0).text(2, "").bool(3, false), ""],
    ["an empty message is there", new MessageWriter().message(2, Buffer.alloc(0)), "1200"],
    ["a field over 15", new MessageWriter().bool(101, true), "a80601"],
  ];
  test.each(golden)("%s", (_, message, hex) => expect(message.finish().toString("hex")).toBe(hex));

  test("is read as it was written, and unknown fields are skipped", () => {
    const entry = new MessageWriter().text(1, "k").text(2, "v").finish();
    const fixed = Buffer.from("3d00000000410000000000000000", "hex");
    const data = Buffer.concat([
      new MessageWriter()
        .uint(1, 2n ** 63n - 1n)
        .text(2, "ä")
        .message(9, entry)
        .uint(4, -5n)
        .finish(),
      fixed,
    ]);
    const read = new MessageReader(data);
    expect(read.int64(1)).toBe(2n ** 63n - 1n);
    expect(read.int64(4)).toBe(-5n);
    expect(read.text(2)).toBe("ä");
    expect(read.map(9)).toEqual(new Map([["k", "v"]]));
    expect(read.message(3)).toBeUndefined();
    expect(read.uint(2)).toBe(0);
  });

  const bad = ["08", "0affffffff0f00", "ffffffffffffffffffffff", "0b", "12057465", "0908"];
  test.each(bad)("%s is an error", (hex) =>
    expect(() => new MessageReader(Buffer.from(hex, "hex"))).toThrow("no protocol buffer"),
  );

  test("a status, by its fields", () => {
    const digest = `sha256:${"a".repeat(64)}`;
    const status = encodeStatus({
      vertexes: [{ digest, inputs: ["build:0"], name: "RUN x", started: 1_700_000_000_500, cached: true }],
      logs: [{ vertex: digest, stream: 2, data: Buffer.from("out"), timestamp: 0 }],
    });
    const read = new MessageReader(status);
    const vertex = read.message(1)!;
    expect([vertex.text(1), vertex.text(3), vertex.uint(4)]).toEqual([digest, "RUN x", 1]);
    expect(vertex.text(2)).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect([vertex.message(5)!.int64(1), vertex.message(5)!.int64(2)]).toEqual([1_700_000_000n, 500_000_000n]);
    expect(vertex.message(6)).toBeUndefined();
    expect([read.message(3)!.uint(3), read.message(3)!.text(4)]).toEqual([2, "out"]);
  });
});
