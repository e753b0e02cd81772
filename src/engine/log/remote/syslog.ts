import { hostname } from "node:os";
import type { ContainerRecord } from "../../store.ts";
import { logTag } from "../attributes.ts";
import type { Message, Receiver } from "./remote-log.ts";
import { openSyslog, type SyslogConnection } from "./syslog-connection.ts";
import { facilityOf, type SyslogFormat, syslogAddress } from "./syslog-options.ts";

const SEVERITY = { 1: 6, 2: 3 } as const;

/** A syslog server: RFC 3164, RFC 5424, or the form of the local socket, as docker writes them. */
export class Syslog implements Receiver {
  readonly #connection: SyslogConnection;
  readonly #options: Record<string, string>;
  readonly #facility: number;
  #tag = "";

  constructor(private readonly record: () => ContainerRecord) {
    this.#options = record().host.LogConfig?.Config ?? {};
    this.#facility = facilityOf(this.#options["syslog-facility"] ?? "");
    this.#connection = openSyslog(syslogAddress(this.#options["syslog-address"] ?? ""), this.#options);
  }

  begin(): void {
    this.#tag = logTag(this.record(), "{{.ID}}");
  }

  connect(): Promise<void> {
    return this.#connection.open();
  }

  encode(message: Message): Buffer {
    const format = (this.#options["syslog-format"] ?? "") as SyslogFormat;
    const priority = (this.#facility << 3) | SEVERITY[message.stream];
    const head = Buffer.from(headOf(format, { priority, time: message.time, tag: this.#tag }));
    const line = Buffer.concat([head, message.text, Buffer.from("\n")]);
    // RFC 5425, section 4.3: over TLS each message is preceded by its length.
    if (!this.#connection.secure || !format.startsWith("rfc5424")) return line;
    return Buffer.concat([Buffer.from(`${line.length} `), line]);
  }

  send(data: Buffer): Promise<void> | undefined {
    return this.#connection.send(data);
  }

  close(): Promise<void> {
    return this.#connection.close();
  }
}

const host = hostname();

/** All before the text. A tag is one word in RFC 5424, and one line anywhere: it may come from a label. */
function headOf(
  format: SyslogFormat,
  { priority, time, tag }: { priority: number; time: bigint; tag: string },
): string {
  const at = new Date(Number(time / 1_000_000n));
  if (format === "rfc5424" || format === "rfc5424micro") {
    const fraction = format === "rfc5424" ? "" : `.${String((time / 1000n) % 1_000_000n).padStart(6, "0")}`;
    const word = tag.replace(/[\x00-\x20\x7f]/g, "_");
    return `<${priority}>1 ${localTime(at, fraction)} ${host} ${word} ${process.pid} ${word} - `;
  }
  const line = tag.replace(/[\x00-\x1f\x7f]/g, " ");
  return `<${priority}>${stamp(at)} ${format === "rfc3164" ? `${host} ` : ""}${line}[${process.pid}]: `;
}

const two = (n: number) => String(n).padStart(2, "0");
const clock = (at: Date) => `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** RFC 3164, section 4.1.2: `Jan  2 15:04:05`. */
const stamp = (at: Date) => `${MONTHS[at.getMonth()]} ${String(at.getDate()).padStart(2)} ${clock(at)}`;

/** RFC 3339 in the local zone. */
function localTime(at: Date, fraction: string): string {
  const offset = -at.getTimezoneOffset();
  const minutes = Math.abs(offset);
  const zone = offset === 0 ? "Z" : `${offset < 0 ? "-" : "+"}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T${clock(at)}${fraction}${zone}`;
}
