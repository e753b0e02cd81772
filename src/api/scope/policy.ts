import { posix } from "node:path";
import { parseBytes } from "../../base/bytes.ts";
import { invalid, messageOf } from "../../base/errors.ts";
import { didYouMean } from "../../base/nearest.ts";
import { isBelow } from "../../engine/bounds.ts";
import { boolean, type Check, record, type Shape, stringOrList, text } from "../../engine/config/fields.ts";
import { normalizeCapability } from "../../security/capabilities.ts";
import { ImagePattern } from "./image-pattern.ts";
import { ROUTE_SETS, routesOf } from "./routes.ts";

/** What `--socket` and the `sockets` of the configuration file say of one socket; what is not said is not allowed. */
export interface SocketSettings {
  path: string;
  group?: string;
  /** Named sets of routes (read-only, containers, …), or single routes such as `POST /containers/{id}/restart`. */
  allow: string[];
  /** `KEY=VALUE` or `KEY`: only what carries it is there. It is put on everything that is made. */
  label?: string;
  /** References with `*`: only these images may be pulled and run. */
  image?: string[];
  /** Directories of the host, below which a container may mount. */
  mount?: string[];
  /** Capabilities beyond the default ones, or ALL. */
  capability?: string[];
  /** Devices of the host, by their paths. */
  device?: string[];
  /** Namespaces of the host that may be shared: network, pid, ipc, uts, cgroup, user. */
  namespace?: string[];
  privileged?: boolean;
  /** Any --security-opt. */
  unconfined?: boolean;
  /** Publishing ports on the machine's addresses. */
  ports?: boolean;
  /** Most memory of one container. */
  memory?: string | number;
  /** Most processors of one container. */
  cpus?: string | number;
  /** Most processes of one container. */
  pids?: string | number;
}

/** The rights of one socket, ready to be asked. */
export interface Scope {
  /** How it is named in refusals. */
  readonly name: string;
  /** Patterns of the routes that it serves. */
  readonly routes: ReadonlySet<string>;
  readonly label: { key: string; value: string } | undefined;
  readonly images: readonly ImagePattern[] | undefined;
  readonly directories: readonly string[];
  readonly capabilities: ReadonlySet<string>;
  readonly devices: ReadonlySet<string>;
  readonly namespaces: ReadonlySet<string>;
  readonly privileged: boolean;
  readonly unconfined: boolean;
  readonly ports: boolean;
  /** Bytes. */
  readonly memory: number | undefined;
  /** Billionths of a processor. */
  readonly nanoCpus: number | undefined;
  readonly pids: number | undefined;
}

const NAMESPACES = ["network", "pid", "ipc", "uts", "cgroup", "user"];
const textOrNumber: Check<string | number> = (value, at) => (typeof value === "number" ? value : text(value, at));
/** A flag says true and false in words. */
const truth: Check<boolean> = (value, at) => boolean(value === "true" ? true : value === "false" ? false : value, at);

const FIELDS: Shape<SocketSettings> = {
  path: text,
  group: text,
  allow: stringOrList,
  label: text,
  image: stringOrList,
  mount: stringOrList,
  capability: stringOrList,
  device: stringOrList,
  namespace: stringOrList,
  privileged: truth,
  unconfined: truth,
  ports: truth,
  memory: textOrNumber,
  cpus: textOrNumber,
  pids: textOrNumber,
};
const LISTS = new Set(["allow", "image", "mount", "capability", "device", "namespace"]);

/** Reads `path=…,allow=read-only,…`; keys that are lists may be repeated. Throws invalid. */
export function parseSocketFlag(value: string): SocketSettings {
  const fields: Record<string, string | string[]> = {};
  for (const part of value.split(",")) {
    const at = part.indexOf("=");
    const key = at < 0 ? part : part.slice(0, at);
    const content = at < 0 ? "true" : part.slice(at + 1);
    if (LISTS.has(key)) fields[key] = [...((fields[key] as string[] | undefined) ?? []), content];
    else if (Object.hasOwn(fields, key)) throw invalid(`--socket: ${key} is given twice`);
    else fields[key] = content;
  }
  return socketSettings(fields, "--socket");
}

/** Checks the types of one of `sockets`. Throws invalid. */
export const socketSettings: Check<SocketSettings> = (value, at) => {
  const settings: Record<string, unknown> = {};
  for (const [key, one] of Object.entries(record(value, at))) {
    const check = Object.hasOwn(FIELDS, key) ? FIELDS[key as keyof SocketSettings] : undefined;
    if (!check)
      throw invalid(`${at}: unknown key ${JSON.stringify(key.slice(0, 64))}${didYouMean(key, Object.keys(FIELDS))}`);
    settings[key] = check(one, `${at}.${key}`);
  }
  if (!settings.path) throw invalid(`${at}: path is missing: the socket's path`);
  if (!settings.allow) {
    throw invalid(`${at}: allow is missing: what the socket serves, of ${ROUTE_SETS.join(", ")}, or routes`);
  }
  return settings as unknown as SocketSettings;
};

/**
 * The rights that settings give. `own` are the engine's directories and other sockets: a mount that contains one would give more.
 * Throws invalid.
 */
export function compileScope(settings: SocketSettings, own: readonly string[]): Scope {
  const at = `socket ${settings.path}`;
  const number = (key: "memory" | "cpus" | "pids", parse: (text: string) => number): number | undefined => {
    const value = settings[key];
    if (value === undefined) return undefined;
    let result: number;
    try {
      result = typeof value === "number" && key !== "cpus" ? value : parse(String(value));
    } catch (error) {
      throw invalid(`${at}: ${key}: ${messageOf(error)}`, error);
    }
    if (!Number.isSafeInteger(result) || result <= 0) throw invalid(`${at}: ${key} must be above 0`);
    return result;
  };
  const namespaces = settings.namespace ?? [];
  for (const name of namespaces) {
    if (!NAMESPACES.includes(name)) throw invalid(`${at}: unknown namespace ${name}${didYouMean(name, NAMESPACES)}`);
  }
  return {
    name: settings.path,
    routes: new Set(settings.allow.flatMap((word) => routesOf(word, at))),
    label: settings.label === undefined ? undefined : parseLabel(settings.label, at),
    images: settings.image?.map((pattern) => new ImagePattern(pattern)),
    directories: (settings.mount ?? []).map((path) => directory(path, own, at)),
    capabilities: new Set(
      settings.capability?.map((name) => (name.toUpperCase() === "ALL" ? "ALL" : normalizeCapability(name))),
    ),
    devices: new Set(settings.device),
    namespaces: new Set(namespaces),
    privileged: settings.privileged ?? false,
    unconfined: settings.unconfined ?? false,
    ports: settings.ports ?? false,
    memory: number("memory", parseBytes),
    nanoCpus: number("cpus", (value) => Math.round(Number(value) * 1e9)),
    pids: number("pids", Number),
  };
}

const EVENT_WORDS = new Set(
  "image name container type driver signal exitCode execID execDuration oldName height width reclaimed comment".split(
    " ",
  ),
);

function parseLabel(label: string, at: string): { key: string; value: string } {
  const equals = label.indexOf("=");
  const key = equals < 0 ? label : label.slice(0, equals);
  if (key === "") throw invalid(`${at}: label ${JSON.stringify(label)} has no name`);
  // Beside the labels an event has words of its own, which are not to be taken for one.
  if (/^[a-zA-Z]+$/.test(key) && EVENT_WORDS.has(key))
    throw invalid(`${at}: label ${key}: events have a word of this name`);
  return { key, value: equals < 0 ? "" : label.slice(equals + 1) };
}

function directory(path: string, own: readonly string[], at: string): string {
  if (!path.startsWith("/")) throw invalid(`${at}: mount ${path} must be absolute`);
  const clean = posix.normalize(path).replace(/(.)\/$/, "$1");
  for (const one of own) {
    if (isBelow(one, clean) || isBelow(clean, one)) {
      throw invalid(`${at}: mount ${path}: the engine's own ${one} is there, which would give the machine away`);
    }
  }
  return clean;
}
