import { expect, test } from "bun:test";
import { encodeFrame, type FrameEvent, FrameReader } from "./websocket.ts";

/** A client's frame: masked. */
function frame(opcode: number, payload: Uint8Array, { final = true, mask = [1, 2, 3, 4] } = {}): Buffer {
  const plain = encodeFrame(opcode, payload);
  const header = plain.subarray(0, plain.length - payload.length);
  header[0] = (final ? 0x80 : 0) | opcode;
  header[1]! |= 0x80;
  return Buffer.concat([header, Buffer.from(mask), Buffer.from(payload).map((byte, i) => byte ^ mask[i & 3]!)]);
}

function read(chunks: Buffer[]): string[] {
  const reader = new FrameReader();
  const events: FrameEvent[] = chunks.flatMap((chunk) => [...reader.push(chunk)]);
  let text = "";
  const others: string[] = [];
  for (const event of events) {
    if ("data" in event) text += event.data.toString("latin1");
    else others.push("ping" in event ? `ping ${event.ping}` : "close");
  }
  return [text, ...others];
}

const text = (length: number) => Buffer.alloc(length, "abcdefg");

test.each([0, 1, 125, 126, 65535, 65536, 200_000])("a message of %d bytes, in any pieces", (length) => {
  const bytes = Buffer.concat([frame(2, text(length)), frame(9, Buffer.from("p")), frame(2, Buffer.from("end"))]);
  const wanted = [`${text(length).toString()}end`, "ping p"];
  expect(read([bytes])).toEqual(wanted);
  if (length < 1000) expect(read([...bytes].map((byte) => Buffer.from([byte])))).toEqual(wanted);
  expect(read([bytes.subarray(0, 3), bytes.subarray(3)])).toEqual(wanted);
});

test("fragments, with a control frame between them", () => {
  const parts = [
    frame(1, Buffer.from("a"), { final: false }),
    frame(9, Buffer.alloc(0)),
    frame(0, Buffer.from("b")),
    frame(8, text(2)),
  ];
  expect(read([Buffer.concat(parts)])).toEqual(["ab", "ping ", "close"]);
});

test.each([
  ["no mask", encodeFrame(2, text(3)), "must be masked"],
  ["a reserved bit", Buffer.from([0xc2, 0x80, 0, 0, 0, 0]), "reserved"],
  ["an unknown opcode", Buffer.from([0x83, 0x80, 0, 0, 0, 0]), "unknown opcode"],
  ["a long ping", frame(9, text(126)), "control frame"],
  ["a ping in parts", frame(9, text(1), { final: false }), "control frame"],
  ["a continuation of nothing", frame(0, text(1)), "begins inside"],
])("%s breaks the protocol", (_, bytes, why) => {
  expect(() => read([bytes])).toThrow(why);
});

test("a message inside another breaks the protocol", () => {
  expect(() => read([frame(2, text(1), { final: false }), frame(2, text(1))])).toThrow("begins inside");
});
