import { describe, expect, test } from "bun:test";
import { decodeMessage, encodeMessage } from "./message.ts";

describe("protobuf messages", () => {
  test("as the encoding's own examples", () => {
    expect(encodeMessage([[1, 150]]).toString("hex")).toBe("089601");
    expect(encodeMessage([[2, "testing"]]).toString("hex")).toBe("120774657374696e67");
    expect(encodeMessage([[3, encodeMessage([[1, 150]])]]).toString("hex")).toBe("1a03089601");
    expect(
      encodeMessage([
        [1, true],
        [2, undefined],
        [49, 0],
      ] as const).toString("hex"),
    ).toBe("0801880300");
    expect(encodeMessage([[1, -1]]).toString("hex")).toBe("08ffffffffffffffffff01");
  });

  test("what is encoded is decoded; unknown fields are passed over", () => {
    const inner = encodeMessage([
      [2, "post-dump"],
      [1, 7],
    ] as const);
    const fixed = Buffer.from([(9 << 3) | 1, 1, 2, 3, 4, 5, 6, 7, 8, (10 << 3) | 5, 1, 2, 3, 4]);
    const message = decodeMessage(
      Buffer.concat([
        encodeMessage([
          [1, 6],
          [5, inner],
          [7, -2],
        ] as const),
        fixed,
      ]),
    );
    expect(message.integer(1)).toBe(6);
    expect(message.integer(7)).toBe(-2);
    expect(message.message(5)?.text(2)).toBe("post-dump");
    expect(message.message(5)?.integer(1)).toBe(7);
    expect(message.text(3)).toBeUndefined();
  });

  test("cut short at any byte: an error or an earlier end, no more", () => {
    const whole = encodeMessage([
      [1, 300],
      [5, encodeMessage([[2, "text"]])],
    ] as const);
    for (let length = 0; length < whole.length; length++) {
      if ([0, 3].includes(length)) continue;
      expect(() => decodeMessage(whole.subarray(0, length))).toThrow("cut short");
    }
    expect(() => decodeMessage(Buffer.from([0x0b]))).toThrow("unknown kind 3");
  });
});
