import { createHash } from "node:crypto";
import { invalid } from "../base/errors.ts";
import type { OutputChunk } from "../engine/requests.ts";
import type { Call, Hijack } from "./call.ts";

/** The server's side of a WebSocket (RFC 6455), as far as attaching needs it: data in both directions, ping and close. */

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/** §5.2. */
const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;
const FIN = 0x80;
const MASKED = 0x80;
/** §5.5: of a control frame. */
const MAX_CONTROL = 125;
/** §7.4.1. */
const CLOSE = { normal: 1000, protocol: 1002 } as const;
/** A client that pings and does not read is cut off. */
const MAX_PENDING = 64;

/** The headers of the answer to an opening handshake (§4.2); a request that is none is invalid. */
export function acceptWebSocket({ request, upgrade }: Call): Record<string, string> {
  const { headers } = request;
  const key = headers["sec-websocket-key"];
  const opening =
    upgrade && headers.upgrade?.toLowerCase() === "websocket" && headers["sec-websocket-version"] === "13";
  if (!opening || typeof key !== "string" || Buffer.from(key, "base64").length !== 16) {
    throw invalid("not a websocket protocol: the request must open one (RFC 6455, version 13)");
  }
  return { "Sec-WebSocket-Accept": createHash("sha1").update(`${key}${GUID}`).digest("base64") };
}

/** One frame, not masked: the server's. */
export function encodeFrame(opcode: number, payload: Uint8Array): Buffer {
  const { length } = payload;
  const extended = length < 126 ? 0 : length < 65536 ? 2 : 8;
  const frame = Buffer.alloc(2 + extended + length);
  frame[0] = FIN | opcode;
  frame[1] = extended === 0 ? length : extended === 2 ? 126 : 127;
  if (extended === 2) frame.writeUInt16BE(length, 2);
  if (extended === 8) frame.writeBigUInt64BE(BigInt(length), 2);
  frame.set(payload, 2 + extended);
  return frame;
}

export type FrameEvent = { data: Buffer } | { ping: Buffer } | { close: true };

/**
 * Takes a client's stream apart. Data comes in pieces as it arrives, whatever frames and messages it is in; nothing is
 * kept but a header or a control frame. What breaks the protocol is an Error.
 */
export class FrameReader {
  #held: Buffer = Buffer.alloc(0);
  /** Of the data frame that has begun: bytes to come, and where its mask stands. */
  #left = 0n;
  #mask: Buffer = Buffer.alloc(4);
  #at = 0;
  #inMessage = false;

  *push(chunk: Buffer): Generator<FrameEvent, void, undefined> {
    let rest = this.#held.length > 0 ? Buffer.concat([this.#held, chunk]) : chunk;
    this.#held = Buffer.alloc(0);
    while (rest.length > 0) {
      if (this.#left > 0n) {
        const length = this.#left < BigInt(rest.length) ? Number(this.#left) : rest.length;
        yield { data: this.#unmask(rest.subarray(0, length)) };
        this.#left -= BigInt(length);
        rest = rest.subarray(length);
        continue;
      }
      const header = readHeader(rest);
      const control = header && header.opcode >= OPCODE.close;
      if (!header || (control && rest.length < header.size + Number(header.length))) {
        this.#held = Buffer.from(rest);
        return;
      }
      this.#check(header);
      this.#mask = Buffer.from(header.mask);
      this.#at = 0;
      rest = rest.subarray(header.size);
      if (!control) {
        this.#inMessage = !header.final;
        this.#left = header.length;
        continue;
      }
      const payload = this.#unmask(rest.subarray(0, Number(header.length)));
      rest = rest.subarray(Number(header.length));
      if (header.opcode === OPCODE.ping) yield { ping: payload };
      if (header.opcode === OPCODE.close) yield { close: true };
    }
  }

  #check({ opcode, final, reserved, masked, length }: Header): void {
    if (reserved) throw new Error("a reserved bit is set");
    if (!masked) throw new Error("a client's frame must be masked");
    if (!(Object.values(OPCODE) as number[]).includes(opcode)) throw new Error(`unknown opcode ${opcode}`);
    if (opcode >= OPCODE.close) {
      if (!final || length > MAX_CONTROL) throw new Error("a control frame is whole and has at most 125 bytes");
    } else if ((opcode === OPCODE.continuation) !== this.#inMessage) throw new Error("a message begins inside another");
  }

  #unmask(bytes: Buffer): Buffer {
    const plain = Buffer.allocUnsafe(bytes.length);
    for (let i = 0; i < bytes.length; i++) plain[i] = bytes[i]! ^ this.#mask[(this.#at + i) & 3]!;
    this.#at = (this.#at + bytes.length) & 3;
    return plain;
  }
}

interface Header {
  opcode: number;
  final: boolean;
  reserved: boolean;
  masked: boolean;
  length: bigint;
  mask: Buffer;
  /** Bytes of the header. */
  size: number;
}

/** Undefined while there is not all of it. */
function readHeader(bytes: Buffer): Header | undefined {
  if (bytes.length < 2) return undefined;
  const [first, second] = [bytes[0]!, bytes[1]!];
  const short = second & 0x7f;
  const extended = short === 126 ? 2 : short === 127 ? 8 : 0;
  const masked = (second & MASKED) !== 0;
  const size = 2 + extended + (masked ? 4 : 0);
  if (bytes.length < size) return undefined;
  const length = extended === 8 ? bytes.readBigUInt64BE(2) : BigInt(extended === 2 ? bytes.readUInt16BE(2) : short);
  return {
    opcode: first & 0x0f,
    final: (first & FIN) !== 0,
    reserved: (first & 0x70) !== 0,
    masked,
    length,
    mask: bytes.subarray(size - 4, size),
    size,
  };
}

/** What a WebSocket connects: both sides are plain bytes. */
interface Stdio {
  output: AsyncIterable<OutputChunk>;
  write(data: Uint8Array): Promise<void>;
  endInput(): Promise<void>;
  close(): void;
}

/** Carries stdio on a WebSocket: each piece of output is a message, without stdout and stderr being told apart. */
export function webSocketStdio(stdio: Stdio, binary: boolean): Pick<Hijack, "output" | "input" | "endInput" | "close"> {
  const reader = new FrameReader();
  const pending: Buffer[] = [];
  let over = false;
  let wake = () => {};
  const control = (frame: Buffer, last = false) => {
    if (over) return;
    pending.push(frame);
    over = last || pending.length > MAX_PENDING;
    wake();
  };
  const close = (code: number) => {
    const payload = Buffer.alloc(2);
    payload.writeUInt16BE(code);
    control(encodeFrame(OPCODE.close, payload), true);
    stdio.close();
  };
  const output = async function* () {
    const chunks = stdio.output[Symbol.asyncIterator]();
    let next: Promise<IteratorResult<OutputChunk>> | undefined;
    for (;;) {
      yield* pending.splice(0);
      if (over) return;
      const woken = new Promise<undefined>((resolve) => {
        wake = () => resolve(undefined);
      });
      next ??= chunks.next();
      const result = await Promise.race([next, woken]);
      if (!result) continue;
      next = undefined;
      if (result.done) close(CLOSE.normal);
      else yield encodeFrame(binary ? OPCODE.binary : OPCODE.text, result.value.data);
    }
  };
  return {
    output: output(),
    async input(chunk) {
      try {
        for (const event of reader.push(Buffer.from(chunk))) {
          if ("data" in event) await stdio.write(event.data);
          else if ("ping" in event) control(encodeFrame(OPCODE.pong, event.ping));
          else {
            await stdio.endInput();
            close(CLOSE.normal);
          }
        }
      } catch {
        close(CLOSE.protocol);
      }
    },
    endInput: () => stdio.endInput(),
    close() {
      over = true;
      wake();
      stdio.close();
    },
  };
}
