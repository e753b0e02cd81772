import { existsSync } from "node:fs";
import { invalid } from "../../../base/errors.ts";

export type SyslogFormat = "" | "rfc3164" | "rfc5424" | "rfc5424micro";

const FORMATS = ["", "rfc3164", "rfc5424", "rfc5424micro"];

/** RFC 5424, table 1; the numbers between have no names. */
const FACILITIES: Readonly<Record<string, number>> = {
  kern: 0,
  user: 1,
  mail: 2,
  daemon: 3,
  auth: 4,
  syslog: 5,
  lpr: 6,
  news: 7,
  uucp: 8,
  cron: 9,
  authpriv: 10,
  ftp: 11,
  local0: 16,
  local1: 17,
  local2: 18,
  local3: 19,
  local4: 20,
  local5: 21,
  local6: 22,
  local7: 23,
};

/** `path` for unix and unixgram, else host and port; "local" is the machine's own, wherever its socket is. */
export type SyslogAddress =
  | { kind: "local" }
  | { kind: "unix" | "unixgram"; path: string }
  | { kind: "udp" | "tcp" | "tcp+tls"; host: string; port: number };

const DEFAULT_PORT = 514;

/** Throws invalid. */
export function syslogAddress(text: string): SyslogAddress {
  if (text === "") return { kind: "local" };
  const [, kind, rest = ""] = /^(unix|unixgram|udp|tcp|tcp\+tls):\/\/(.*)$/s.exec(text) ?? [];
  if (!kind) throw invalid(`syslog-address should be in form proto://address, got ${text.slice(0, 256)}`);
  if (kind === "unix" || kind === "unixgram") {
    if (!existsSync(rest)) throw invalid(`stat ${rest.slice(0, 256)}: no such file or directory`);
    return { kind, path: rest };
  }
  const [, six, name, port] = /^(?:\[([0-9A-Fa-f:.%]+)\]|([^:/[\]\s]+))(?::(\d{1,5}))?\/?$/.exec(rest) ?? [];
  const host = six ?? name;
  if (!host || Number(port ?? 0) > 65535)
    throw invalid(`parse ${JSON.stringify(text.slice(0, 256))}: invalid host or port`);
  return { kind: kind as "udp" | "tcp" | "tcp+tls", host, port: port === undefined ? DEFAULT_PORT : Number(port) };
}

/** Throws invalid. */
export function facilityOf(text: string): number {
  if (text === "") return FACILITIES.daemon!;
  const named = Object.hasOwn(FACILITIES, text) ? FACILITIES[text] : undefined;
  const number = named ?? (/^\d{1,2}$/.test(text) ? Number(text) : Number.NaN);
  if (!(number <= 23)) throw invalid("invalid syslog facility");
  return number;
}

/** Checks what is the driver's own. Throws invalid. */
export function checkSyslogOptions(options: Record<string, string>): void {
  syslogAddress(options["syslog-address"] ?? "");
  facilityOf(options["syslog-facility"] ?? "");
  if (!FORMATS.includes(options["syslog-format"] ?? "")) throw invalid("Invalid syslog format");
}
