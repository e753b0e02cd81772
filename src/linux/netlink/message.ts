import { align, decodeAttributes, readText } from "./attributes.ts";

/** Netlink messages (netlink(7), struct nlmsghdr): pure. */

export interface Message {
  type: number;
  /** NLM_F_*. */
  flags: number;
  sequence: number;
  /** Of the socket that asked for it, where somebody did. */
  port?: number;
  payload: Buffer;
}

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const NLM_F_REQUEST = 0x01;
export const NLM_F_MULTI = 0x02;
export const NLM_F_ACK = 0x04;
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_CAPPED = 0x100;
export const NLM_F_ACK_TLVS = 0x200;
/** Of a question: all there are. */
export const NLM_F_DUMP = 0x300;
/** Of a request for something new: in place of what is there, or an error if it is. */
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;

export const HEADER_SIZE = 16;

export function encodeMessage(message: Message): Buffer {
  const length = HEADER_SIZE + message.payload.length;
  const out = Buffer.alloc(align(length));
  out.writeUInt32LE(length, 0);
  out.writeUInt16LE(message.type, 4);
  out.writeUInt16LE(message.flags, 6);
  out.writeUInt32LE(message.sequence, 8);
  out.set(message.payload, HEADER_SIZE);
  return out;
}

/** All messages of a datagram. A length that does not fit is a RangeError. */
export function* decodeMessages(bytes: Buffer): Generator<Message> {
  for (let at = 0; at < bytes.length; ) {
    const left = bytes.length - at;
    const length = left < HEADER_SIZE ? 0 : bytes.readUInt32LE(at);
    if (length < HEADER_SIZE || length > left) {
      throw new RangeError(`netlink: a message of ${length} bytes where there are ${left}`);
    }
    const port = bytes.readUInt32LE(at + 12);
    yield {
      type: bytes.readUInt16LE(at + 4),
      flags: bytes.readUInt16LE(at + 6),
      sequence: bytes.readUInt32LE(at + 8),
      ...(port === 0 ? {} : { port }),
      payload: bytes.subarray(at + HEADER_SIZE, at + length),
    };
    at += align(length);
  }
}

/** The kernel's answer to a request: errno 0 is success. */
export interface Ack {
  errno: number;
  /** Its words, and the place in the request that it objects to (extended ACK). */
  text?: string;
  offset?: number;
}

const NLMSGERR_ATTR_MSG = 1;
const NLMSGERR_ATTR_OFFS = 2;

/** Of a message of type NLMSG_ERROR (struct nlmsgerr), or NLMSG_DONE, which has the same number first. */
export function decodeAck({ type, flags, payload }: Message): Ack {
  // A dump's end may come without.
  if (payload.length < 4) return { errno: 0 };
  const ack: Ack = { errno: 0 - payload.readInt32LE(0) };
  if (!(flags & NLM_F_ACK_TLVS)) return ack;
  let at = 4;
  if (type === NLMSG_ERROR) {
    if (payload.length < 4 + HEADER_SIZE) throw new RangeError("netlink: an answer without the request's header");
    // The request comes back whole, unless it is capped.
    at += flags & NLM_F_CAPPED ? HEADER_SIZE : align(payload.readUInt32LE(4));
  }
  if (at > payload.length) throw new RangeError("netlink: an answer that is shorter than the request in it");
  const attributes = decodeAttributes(payload.subarray(at));
  const words = attributes.get(NLMSGERR_ATTR_MSG);
  const offset = attributes.get(NLMSGERR_ATTR_OFFS);
  if (words) ack.text = readText(words);
  if (offset && offset.length >= 4) ack.offset = offset.readUInt32LE(0);
  return ack;
}
