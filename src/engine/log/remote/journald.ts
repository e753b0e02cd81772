import { existsSync } from "node:fs";
import { newId } from "../../../base/digest.ts";
import { unavailable } from "../../../base/errors.ts";
import { formatNanoseconds } from "../../clock.ts";
import type { ContainerRecord } from "../../store.ts";
import { extraAttributes, logTag } from "../attributes.ts";
import { DatagramConnection } from "./datagram.ts";
import type { Message, Receiver } from "./remote-log.ts";

/** systemd's; journald listens there for its native protocol. */
export const JOURNAL_SOCKET = "/run/systemd/journal/socket";

const PRIORITY = { 1: "6", 2: "3" } as const;

/** The journal (systemd.journal-fields(7), "Native Journal Protocol"), with docker's fields. */
export class Journal implements Receiver {
  readonly #connection: DatagramConnection;
  /** What all entries have in common. */
  #common: Buffer = Buffer.alloc(0);
  #ordinal = 0;

  constructor(
    private readonly record: () => ContainerRecord,
    private readonly socket: string,
  ) {
    this.#connection = new DatagramConnection(socket);
  }

  async connect(): Promise<void> {
    if (!existsSync(this.socket)) throw unavailable("journald is not enabled on this host");
    this.#connection.open();
  }

  begin(): void {
    const record = this.record();
    const tag = logTag(record, "{{.ID}}");
    this.#ordinal = 0;
    this.#common = Buffer.concat(
      Object.entries({
        CONTAINER_ID: record.id.slice(0, 12),
        CONTAINER_ID_FULL: record.id,
        CONTAINER_NAME: record.name,
        CONTAINER_TAG: tag,
        IMAGE_NAME: record.image,
        SYSLOG_IDENTIFIER: tag,
        CONTAINER_LOG_EPOCH: newId(),
        ...extraAttributes(record, fieldName),
      })
        .filter(([name]) => name !== "")
        .map(([name, value]) => field(name, Buffer.from(value))),
    );
  }

  encode({ stream, text, time, partial }: Message): Buffer {
    const more: Record<string, string> = {
      PRIORITY: PRIORITY[stream],
      SYSLOG_TIMESTAMP: formatNanoseconds(time).replace(/\.?0*Z$/, "Z"),
      CONTAINER_LOG_ORDINAL: String(++this.#ordinal),
    };
    if (partial) {
      more.CONTAINER_PARTIAL_ID = partial.id;
      more.CONTAINER_PARTIAL_ORDINAL = String(partial.ordinal);
      more.CONTAINER_PARTIAL_LAST = String(partial.last);
      if (!partial.last) more.CONTAINER_PARTIAL_MESSAGE = "true";
    }
    const head = Object.entries(more).map(([name, value]) => `${name}=${value}\n`);
    return Buffer.concat([Buffer.from(head.join("")), this.#common, field("MESSAGE", text)]);
  }

  send(data: Buffer): Promise<void> | undefined {
    return this.#connection.send(data);
  }

  async close(): Promise<void> {
    this.#connection.close();
  }
}

const NEWLINE = 0x0a;

function field(name: string, value: Uint8Array): Buffer {
  if (!value.includes(NEWLINE)) return Buffer.concat([Buffer.from(`${name}=`), value, Buffer.from("\n")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(value.length));
  return Buffer.concat([Buffer.from(`${name}\n`), length, value, Buffer.from("\n")]);
}

const LONGEST_NAME = 64;

/** A label as a field's name: capitals, digits and underscores, none of them first, since those fields are journald's own. */
function fieldName(label: string): string {
  return label
    .toUpperCase()
    .replace(/[^A-Z0-9]/g, "_")
    .replace(/^_+/, "")
    .slice(0, LONGEST_NAME);
}
