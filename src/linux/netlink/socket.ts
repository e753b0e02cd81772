import { openSync } from "node:fs";
import { SysError } from "../../base/errors.ts";
import { sys, trySys } from "../call.ts";
import * as k from "../constants.ts";
import { addressOf, bytes, room, scratch } from "../ffi.ts";
import { close } from "../file.ts";
import { attributesIn } from "./attributes.ts";
import {
  decodeAck,
  decodeMessages,
  encodeMessage,
  HEADER_SIZE,
  type Message,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
} from "./message.ts";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NETLINK_ROUTE = 0;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const EAGAIN = 11;
/** The kernel fills at most 32 KiB of a dump at once. */
const BUFFER_SIZE = 1 << 16;
const DUMP_TRIES = 5;

/** Of a request in {@link NetlinkSocket.all} that is not the last: only a failure is of interest. */
export const NLM_F_NO_ACK = 0x10000;

/** A request, with what an error says of it. */
export interface Request {
  type: number;
  /** Besides NLM_F_REQUEST and NLM_F_ACK. */
  flags?: number;
  payload: Buffer;
  /** `RTM_NEWLINK`, and what it is about: `eth0`. */
  operation: string;
  object: string;
  /** How long the payload's own header is, and the names of the attributes after it. */
  header: number;
  attributes: Readonly<Record<number, string>>;
}

/** A netlink socket. It belongs to one network namespace; its owner closes it. Blocks. */
export class NetlinkSocket {
  readonly #fd: number;
  #sequence = 0;

  /** `namespace` is a descriptor of a network namespace; without one, the calling thread's. */
  constructor(protocol: number, namespace?: number) {
    const open = () => sys("socket", "AF_NETLINK", AF_NETLINK, SOCK_RAW | k.SOCK_CLOEXEC, protocol);
    this.#fd = namespace === undefined ? open() : inNetworkNamespace(namespace, open);
    scratch(() => {
      const one = bytes(new Uint8Array([1, 0, 0, 0]));
      // The kernel's own words in errors; and not our request back.
      for (const option of [NETLINK_EXT_ACK, NETLINK_CAP_ACK]) {
        trySys("setsockopt", this.#fd, SOL_NETLINK, option, one, 4);
      }
    });
  }

  close(): void {
    close(this.#fd);
  }

  /** Its number, by which messages about changes say who asked for them. */
  get port(): number {
    return scratch(() => {
      const name = room(12);
      const size = room(8);
      size.view.writeUInt32LE(12, 0);
      sys("getsockname", "AF_NETLINK", this.#fd, name.address, size.address);
      return name.view.readUInt32LE(4);
    });
  }

  /** The messages that answer. An errno is a SysError that names the message and the attribute. */
  request(request: Request): Message[] {
    const dump = ((request.flags ?? 0) & NLM_F_DUMP) === NLM_F_DUMP;
    for (let tries = 1; ; tries++) {
      const answers = this.#once(request);
      // What is listed has changed meanwhile: some may be missing.
      if (!dump || !answers.some(({ flags }) => flags & NLM_F_DUMP_INTR)) return answers;
      if (tries === DUMP_TRIES) throw new SysError(request.operation, request.object, 4, "it changes all the time");
    }
  }

  /**
   * Sends all in one datagram, of which the kernel takes one after the other. The first that fails is thrown; those after
   * it have been carried out all the same, unless it is a transaction (nf_tables), of which nothing stays then.
   */
  all(requests: readonly Request[]): void {
    const first = this.#sequence + 1;
    const bytes = Buffer.concat(
      requests.map(({ type, flags = 0, payload }, i) => {
        // Errors come in any case. Who asks for nothing else would be told of nothing.
        const ack = i === requests.length - 1 || !(flags & NLM_F_NO_ACK) ? NLM_F_ACK : 0;
        return encodeMessage({
          type,
          flags: NLM_F_REQUEST | ack | (flags & 0xffff),
          sequence: ++this.#sequence,
          payload,
        });
      }),
    );
    sys("sendto", requests[0]!.operation, this.#fd, addressOf(bytes), bytes.length, 0, 0, 0);
    let failure: SysError | undefined;
    // What the kernel says to a request is there when it has taken it.
    for (;;) {
      const buffer = Buffer.alloc(BUFFER_SIZE);
      const n = trySys("recvfrom", this.#fd, addressOf(buffer), buffer.length, MSG_TRUNC | MSG_DONTWAIT, 0, 0);
      if (n === -EAGAIN) break;
      if (n < 0) throw new SysError("recvfrom", requests[0]!.operation, -n);
      for (const answer of decodeMessages(buffer.subarray(0, Math.min(n, buffer.length)))) {
        if (answer.type !== NLMSG_ERROR) continue;
        const { errno } = decodeAck(answer);
        if (errno !== 0) failure ??= errorOf(requests[answer.sequence - first] ?? requests[0]!, answer);
      }
    }
    if (failure) throw failure;
  }

  #once(request: Request): Message[] {
    const sequence = ++this.#sequence;
    const message = encodeMessage({
      type: request.type,
      flags: NLM_F_REQUEST | NLM_F_ACK | (request.flags ?? 0),
      sequence,
      payload: request.payload,
    });
    sys("sendto", request.operation, this.#fd, addressOf(message), message.length, 0, 0, 0);
    const answers: Message[] = [];
    for (;;) {
      const buffer = Buffer.alloc(BUFFER_SIZE);
      const n = sys("recvfrom", request.operation, this.#fd, addressOf(buffer), buffer.length, MSG_TRUNC, 0, 0);
      if (n > buffer.length) throw new SysError(request.operation, request.object, 90, `an answer of ${n} bytes`);
      for (const answer of decodeMessages(buffer.subarray(0, n))) {
        if (answer.sequence !== sequence) continue;
        if (answer.type !== NLMSG_ERROR && answer.type !== NLMSG_DONE) {
          answers.push(answer);
          continue;
        }
        if (decodeAck(answer).errno === 0) return answers;
        throw errorOf(request, answer);
      }
    }
  }
}

/** A NETLINK_ROUTE socket (rtnetlink(7)). */
export class RouteSocket extends NetlinkSocket {
  constructor(namespace?: number) {
    super(NETLINK_ROUTE, namespace);
  }
}

function errorOf(request: Request, answer: Message): SysError {
  const { errno, text, offset } = decodeAck(answer);
  const attribute = offset === undefined ? undefined : attributeAt(request, offset);
  const hint = [attribute, text].filter(Boolean).join(": ");
  return new SysError(request.operation, request.object, errno, hint || undefined);
}

/** The name of the attribute at `offset` of the message. */
function attributeAt(request: Request, offset: number): string | undefined {
  const start = HEADER_SIZE + request.header;
  for (const attribute of attributesIn(request.payload.subarray(request.header))) {
    if (start + attribute.offset === offset) return request.attributes[attribute.type] ?? `attribute ${attribute.type}`;
  }
  return undefined;
}

/**
 * Runs `body`, which neither waits nor yields, in another network namespace. On the main thread only, and in one piece:
 * nothing else of this process sees it.
 */
export function inNetworkNamespace<T>(namespace: number, body: () => T): T {
  const own = openSync("/proc/thread-self/ns/net", "r");
  try {
    sys("setns", "network namespace", namespace, k.CLONE_NEWNET);
    try {
      return body();
    } finally {
      sys("setns", "our own network namespace", own, k.CLONE_NEWNET);
    }
  } finally {
    close(own);
  }
}
