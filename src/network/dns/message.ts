import * as packet from "dns-packet";

/** DNS messages (RFC 1035), as far as a resolver between containers and the world needs them: pure. */

export const RCODE = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
} as const;

/** A question of a client. */
export interface Query {
  id: number;
  /** As it was asked, without the dot at the end. */
  name: string;
  /** `A`, `AAAA`, `PTR`, …, or `UNKNOWN_65`. */
  type: string;
  recursionDesired: boolean;
  /** Bytes of an answer that it takes by UDP (RFC 6891). */
  udpSize: number;
  raw: Uint8Array;
}

export type Answer = { type: "A" | "AAAA"; data: string } | { type: "PTR"; data: string };

const HEADER = 12;
const LEAST_UDP_SIZE = 512;
const MOST_UDP_SIZE = 4096;
const TRUNCATED = 0x02;

/**
 * Reads one question. Undefined for what cannot be answered at all; a number is the RCODE of what can be, but not
 * like this.
 */
export function readQuery(raw: Uint8Array): Query | { id: number; rcode: number } | undefined {
  if (raw.length < HEADER) return undefined;
  const id = (raw[0]! << 8) | raw[1]!;
  // An answer: nobody is to be answered, or two servers could go on for ever.
  if (raw[2]! & 0x80) return undefined;
  if ((raw[2]! >> 3) & 0x0f) return { id, rcode: RCODE.notImplemented };
  let message: packet.DecodedPacket;
  try {
    message = packet.decode(asBuffer(raw));
  } catch {
    return { id, rcode: RCODE.formatError };
  }
  const [question, ...more] = message.questions ?? [];
  if (!question || more.length > 0) return { id, rcode: RCODE.formatError };
  if ((question.class ?? "IN") !== "IN") return { id, rcode: RCODE.notImplemented };
  const edns = message.additionals?.find((one) => one.type === "OPT") as { udpPayloadSize?: number } | undefined;
  const udpSize = Math.min(Math.max(edns?.udpPayloadSize ?? 0, LEAST_UDP_SIZE), MOST_UDP_SIZE);
  return {
    id,
    name: question.name === "." ? "" : question.name,
    type: question.type,
    recursionDesired: message.flag_rd === true,
    udpSize,
    raw,
  };
}

const AUTHORITATIVE = 0x0400;
const RECURSION = 0x0180;

/** An answer of our own. */
export function encodeAnswer(query: Query, rcode: number, answers: readonly Answer[] = [], ttl = 0): Buffer {
  return packet.encode({
    type: "response",
    id: query.id,
    flags: AUTHORITATIVE | RECURSION | rcode,
    questions: [{ name: query.name || ".", type: query.type as packet.RecordType }],
    answers: answers.map((answer) => ({ name: query.name, ttl, ...answer })),
  });
}

/** What can be said to a message that cannot be read further than its header. */
export function encodeFailure(id: number, rcode: number): Buffer {
  return Buffer.from([id >> 8, id & 255, 0x80, rcode, 0, 0, 0, 0, 0, 0, 0, 0]);
}

/** For UDP: what is longer than the client takes is cut off at its question, and marked, so that it asks by TCP. */
export function fitted(answer: Buffer, query: Query): Buffer {
  if (answer.length <= query.udpSize) return answer;
  const end = questionEnd(answer);
  const cut = Buffer.from(answer.subarray(0, end));
  cut[2]! |= TRUNCATED;
  cut.fill(0, 6, HEADER);
  return cut;
}

/** Whether `answer` is one to `query`, as it was sent under `id`: its question is the same, but for upper and lower case. */
export function answersQuery(answer: Uint8Array, id: number, query: Query): boolean {
  if (answer.length < HEADER || ((answer[0]! << 8) | answer[1]!) !== id || !(answer[2]! & 0x80)) return false;
  const questions = (answer[4]! << 8) | answer[5]!;
  // Some refuse without repeating the question.
  if (questions === 0) return rcodeOf(answer) !== RCODE.noError;
  const end = questionEnd(query.raw);
  if (questions !== 1 || answer.length < end) return false;
  const same = (bytes: Uint8Array) => asBuffer(bytes).toString("latin1", HEADER, end).toLowerCase();
  return same(answer) === same(query.raw);
}

export const rcodeOf = (message: Uint8Array): number => message[3]! & 0x0f;
export const isTruncated = (message: Uint8Array): boolean => (message[2]! & TRUNCATED) !== 0;

/** The message under another id, with the question as `query` has it (some clients vary its case and compare). */
export function readdressed(answer: Uint8Array, query: Query): Buffer {
  const copy = Buffer.from(answer);
  copy.writeUInt16BE(query.id, 0);
  const end = questionEnd(query.raw);
  if (copy.readUInt16BE(4) === 1 && questionEnd(copy) === end) copy.set(query.raw.subarray(HEADER, end), HEADER);
  return copy;
}

/** Addresses in an answer, and the seconds for which they hold. */
export function addressesIn(answer: Uint8Array): { address: string; ttl: number }[] {
  try {
    return (packet.decode(asBuffer(answer)).answers ?? []).flatMap((record) =>
      record.type === "A" || record.type === "AAAA" ? [{ address: record.data, ttl: record.ttl ?? 0 }] : [],
    );
  } catch {
    return [];
  }
}

/**
 * Where the TTLs of an answer's records stand. Throws RangeError for a message that is not whole. OPT has other things in
 * that place, and is left out.
 */
export function ttlOffsets(message: Uint8Array): number[] {
  const bytes = asBuffer(message);
  const records = bytes.readUInt16BE(6) + bytes.readUInt16BE(8) + bytes.readUInt16BE(10);
  const offsets: number[] = [];
  let at = questionEnd(message);
  for (let i = 0; i < records; i++) {
    at = nameEnd(bytes, at);
    if (bytes.readUInt16BE(at) !== OPT) offsets.push(at + 4);
    at += 10 + bytes.readUInt16BE(at + 8);
    if (at > bytes.length) throw new RangeError("a record ends behind its message");
  }
  return offsets;
}

const OPT = 41;

/** The end of the first question. */
function questionEnd(message: Uint8Array): number {
  const bytes = asBuffer(message);
  return bytes.readUInt16BE(4) === 0 ? HEADER : nameEnd(bytes, HEADER) + 4;
}

/** Behind a name: its last label, or a pointer (RFC 1035 4.1.4). */
function nameEnd(bytes: Buffer, from: number): number {
  for (let at = from; ; ) {
    const length = bytes.readUInt8(at);
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2;
    at += 1 + length;
  }
}

const asBuffer = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
