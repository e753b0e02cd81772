import { invalid } from "../base/errors.ts";
import { Reader, type Value, type Variant, Writer } from "./marshal.ts";
import { parseSignature } from "./signature.ts";

/** D-Bus specification, "Message Types". */
export const METHOD_CALL = 1;
export const METHOD_RETURN = 2;
export const ERROR = 3;
export const SIGNAL = 4;

export interface Message {
  type: number;
  serial: number;
  path?: string;
  interface?: string;
  member?: string;
  errorName?: string;
  replySerial?: number;
  destination?: string;
  sender?: string;
  signature?: string;
  body: Value[];
}

/** Header fields by their code: name and type. */
const FIELDS = [
  undefined,
  ["path", "o"],
  ["interface", "s"],
  ["member", "s"],
  ["errorName", "s"],
  ["replySerial", "u"],
  ["destination", "s"],
  ["sender", "s"],
  ["signature", "g"],
] as const;

const FIXED = 16;
/** Ours are small, and so are systemd's; the specification would allow 128 MiB. */
const MAX_MESSAGE = 1 << 24;
const HEADER = parseSignature("a(yv)")[0]!;

export function encodeMessage(message: Message): Buffer {
  const body = new Writer();
  body.body(message.signature ?? "", message.body);
  const head = new Writer();
  head.body("yyyyuu", ["l".charCodeAt(0), message.type, 0, 1, body.bytes.length, message.serial]);
  const fields: Value[] = [];
  FIELDS.forEach((field, code) => {
    const value = field && message[field[0]];
    if (value !== undefined && value !== "") fields.push([code, { signature: field![1], value }]);
  });
  head.value(HEADER, fields);
  head.pad(8);
  return Buffer.concat([head.bytes, body.bytes]);
}

/** The first message in the bytes and its length; undefined if it is not whole yet. One that is malformed is an error. */
export function decodeMessage(bytes: Buffer): { message: Message; length: number } | undefined {
  if (bytes.length < FIXED) return undefined;
  const order = String.fromCharCode(bytes[0]!);
  if ((order !== "l" && order !== "B") || bytes[3] !== 1) throw invalid("D-Bus message: no header");
  const little = order === "l";
  const number = (at: number) => (little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
  const headerEnd = FIXED + number(12);
  const start = Math.ceil(headerEnd / 8) * 8;
  const length = start + number(4);
  if (length > MAX_MESSAGE) throw invalid(`D-Bus message: over ${MAX_MESSAGE} bytes`);
  if (bytes.length < length) return undefined;
  const message: Message = { type: bytes[1]!, serial: number(8), body: [] };
  const header = new Reader(bytes.subarray(0, headerEnd), little, 12);
  for (const [code, variant] of header.value(HEADER, 0) as [number, Variant][]) {
    const field = FIELDS[code];
    if (!field) continue;
    if (variant.signature !== field[1]) throw invalid(`D-Bus message: header field ${field[0]} of another type`);
    Object.assign(message, { [field[0]]: variant.value });
  }
  message.body = new Reader(bytes.subarray(start, length), little).body(message.signature ?? "");
  return { message, length };
}
