import { describe, expect, test } from "bun:test";
import { JsonEncoder } from "./json-encoder.ts";
import { LONGEST_PIECE } from "./line-splitter.ts";

const TIME = 1_700_000_000_000_000_000n;

/** What an encoder writes, with nothing ever rotated. */
function written(encode: (encoder: JsonEncoder, output: Parameters<JsonEncoder["end"]>[1]) => void): string {
  let text = "";
  encode(new JsonEncoder(), {
    size: 0,
    room: Number.POSITIVE_INFINITY,
    append: (...parts) => {
      for (const part of parts) text += Buffer.from(part).toString();
    },
  });
  return text;
}

/** The records that the chunks become; parsed, so also well-formed JSON. */
function encode(chunks: (string | Uint8Array)[], end = false): { log: string; stream: string; time: string }[] {
  return written((encoder, output) => {
    for (const chunk of chunks) encoder.push(1, typeof chunk === "string" ? Buffer.from(chunk) : chunk, TIME, output);
    if (end) encoder.end(TIME, output);
  })
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

describe("records", () => {
  test("one for each line, with a time that grows", () => {
    expect(encode(["a\nb\n"])).toEqual([
      { log: "a\n", stream: "stdout", time: "2023-11-14T22:13:20.000000001Z" },
      { log: "b\n", stream: "stdout", time: "2023-11-14T22:13:20.000000002Z" },
    ]);
  });

  test("a line is put together from chunks of any size", () => {
    const text = 'one\n\ttwo "quoted" \\ \r\n\n<b>&\u0001 é 漢 😀 \u2028\n';
    const bytes = Buffer.from(text);
    const single = [...bytes].map((byte) => Uint8Array.of(byte));
    expect(encode(single).map(({ log }) => log)).toEqual(encode([bytes]).map(({ log }) => log));
    expect(
      encode([bytes])
        .map(({ log }) => log)
        .join(""),
    ).toBe(text);
  });

  test("an unfinished line waits, and is written without a newline at the end", () => {
    expect(encode(["abc"])).toEqual([]);
    expect(encode(["abc"], true).map(({ log }) => log)).toEqual(["abc"]);
  });

  test.each([
    [LONGEST_PIECE - 1, [LONGEST_PIECE]],
    [LONGEST_PIECE, [LONGEST_PIECE, 1]],
    [LONGEST_PIECE + 1, [LONGEST_PIECE, 2]],
    [3 * LONGEST_PIECE + 5, [LONGEST_PIECE, LONGEST_PIECE, LONGEST_PIECE, 6]],
  ])("a line of %d bytes is split every 16 KiB, all parts with one time", (length, lengths) => {
    for (const records of [encode([`${"x".repeat(length)}\n`]), encode([..."x".repeat(length), "\n"])]) {
      expect(records.map(({ log }) => log.length)).toEqual(lengths);
      expect(new Set(records.map(({ time }) => time)).size).toBe(1);
      expect(records.map(({ log }) => log.endsWith("\n"))).toEqual(lengths.map((_, i) => i === lengths.length - 1));
    }
  });

  test.each([
    ["a lone continuation byte", [0x80], "\ufffd"],
    ["an overlong slash", [0xc0, 0xaf], "\ufffd\ufffd"],
    ["a surrogate", [0xed, 0xa0, 0x80], "\ufffd\ufffd\ufffd"],
    ["a cut sequence", [0xe6, 0xbc, 0x41], "\ufffd\ufffdA"],
    ["beyond Unicode", [0xf4, 0x90, 0x80, 0x80], "\ufffd\ufffd\ufffd\ufffd"],
  ])("%s becomes U+FFFD", (_, bytes, expected) => {
    expect(encode([Uint8Array.from([...bytes, 0x0a])])[0]?.log).toBe(`${expected}\n`);
  });

  test("byte for byte as docker writes them", () => {
    const text = written((encoder, output) => {
      encoder.setAttributes({ x: "1", b: '<&>"é', FOO: "bar" });
      encoder.push(2, Buffer.from("a\tb\x01\n\n\u2028\x7f\r\n"), TIME, output);
      encoder.push(2, Uint8Array.of(0xff, 0x0a), TIME + 5_000_000_000n, output);
    });
    const attrs = '"attrs":{"FOO":"bar","b":"\\u003c\\u0026\\u003e\\"é","x":"1"}';
    expect(text).toBe(
      `{"log":"a\\u0009b\\u0001\\n","stream":"stderr",${attrs},"time":"2023-11-14T22:13:20.000000001Z"}\n` +
        `{"log":"\\n","stream":"stderr",${attrs},"time":"2023-11-14T22:13:20.000000002Z"}\n` +
        `{"log":"\\u2028\x7f\\r\\n","stream":"stderr",${attrs},"time":"2023-11-14T22:13:20.000000003Z"}\n` +
        `{"log":"\\ufffd\\n","stream":"stderr",${attrs},"time":"2023-11-14T22:13:25.000000001Z"}\n`,
    );
  });

  test("no time ends in 0, which Go would leave out", () => {
    const times = encode(["\n".repeat(100)]).map(({ time }) => time);
    expect(times.filter((time) => /0Z$/.test(time))).toEqual([]);
    expect(new Set(times).size).toBe(100);
    expect(times).toEqual(times.toSorted());
  });
});
