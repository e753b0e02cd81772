import { splitCsv } from "../../base/csv.ts";
import { ExitError } from "../command.ts";
import { parseInteger } from "../flags.ts";

/** Where a container's port is reached on the host; empty: every address, any free port. */
export interface PortBinding {
  HostIp: string;
  HostPort: string;
}

export interface Ports {
  /** `80/tcp`: {} */
  exposed: Record<string, object>;
  bindings: Record<string, PortBinding[]>;
}

/** node:net is loaded when an address is given. */
export const isIP = (text: string): boolean => (require("node:net") as typeof import("node:net")).isIP(text) !== 0;

const PROTOCOLS = ["tcp", "udp", "sctp"];
const fail = (message: string): never => {
  throw new ExitError(125, message);
};

/** --publish and --expose as the API has them. What is wrong is an ExitError 125 with docker's words. */
export function parsePorts(published: readonly string[], exposes: readonly string[]): Ports {
  const ports: Ports = { exposed: {}, bindings: {} };
  for (const text of published) publish(ports, shortForm(text));
  for (const text of exposes) for (const port of expose(text)) ports.exposed[port] = {};
  return ports;
}

/** `published=8080,target=80,protocol=udp` as `8080:80/udp`; anything else as it is. */
function shortForm(text: string): string {
  if (!text.includes("=")) return text;
  const fields: Record<string, string> = { target: "", published: "", protocol: "tcp" };
  for (const field of splitCsv(text)) {
    const [key = "", value, more] = field.split("=");
    if (value === undefined || more !== undefined) fail(`invalid field: ${field}`);
    fields[key] = value!;
  }
  return fields.published === ""
    ? `${fields.target}/${fields.protocol}`
    : `${fields.published}:${fields.target}/${fields.protocol}`;
}

/** `[[IP:][HOSTPORT[-END]]:]PORT[-END][/PROTOCOL]`. */
function publish(ports: Ports, text: string): void {
  const [address, protocol] = splitProtocol(text);
  if (!PROTOCOLS.includes(protocol)) fail(`invalid proto: ${protocol}`);
  const parts = address.split(":");
  const container = parts.pop()!;
  const host = parts.pop() ?? "";
  const ip = parts.join(":").replace(/^\[(.*)\]$/, "$1");
  if (container === "") fail(`no port specified: ${text || "<empty>"}`);
  if (ip !== "" && !isIP(ip)) fail(`invalid IP address: ${ip}`);
  const inside = range(container) ?? fail(`invalid containerPort: ${container}`);
  const outside = host === "" ? undefined : (range(host) ?? fail(`invalid hostPort: ${host}`));
  const count = inside[1] - inside[0];
  if (outside && outside[1] - outside[0] !== count && count !== 0) {
    fail(`invalid ranges specified for container and host Ports: ${container} and ${host}`);
  }
  for (let i = 0; i <= count; i++) {
    const port = `${inside[0] + i}/${protocol}`;
    // A range of host ports for one port: any free one of them.
    const wide = outside && count === 0 && outside[1] > outside[0];
    const HostPort = !outside ? "" : wide ? `${outside[0]}-${outside[1]}` : String(outside[0] + i);
    ports.exposed[port] = {};
    ports.bindings[port] = [...(ports.bindings[port] ?? []), { HostIp: ip, HostPort }];
  }
}

function expose(text: string): string[] {
  if (text.includes(":")) fail(`invalid port format for --expose: ${text}`);
  const [port, protocol] = splitProtocol(text);
  const bad = (reason: string) => fail(`invalid range format for --expose: ${text}, error: ${reason}`);
  if (port === "") bad("empty string specified for ports");
  for (const end of port.split("-")) {
    try {
      parseInteger(end, true);
    } catch (error) {
      bad((error as Error).message);
    }
  }
  const [first, last] = range(port) ?? bad(`invalid range specified for port: ${port}`);
  return Array.from({ length: last - first + 1 }, (_, i) => `${first + i}/${protocol}`);
}

function splitProtocol(text: string): [string, string] {
  const slash = text.indexOf("/");
  return slash < 0 ? [text, "tcp"] : [text.slice(0, slash), text.slice(slash + 1).toLowerCase() || "tcp"];
}

/** First and last of `N` or `N-M`; undefined when it is none. */
function range(text: string): [number, number] | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (!match) return undefined;
  const first = Number(match[1]);
  const last = Number(match[2] ?? first);
  return first <= last && last <= 65535 ? [first, last] : undefined;
}
