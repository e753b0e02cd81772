import { existsSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { invalid, messageOf } from "../base/errors.ts";
import { didYouMean } from "../base/nearest.ts";
import { directoryOf, readText, type Tls } from "./tls.ts";

/** One host of a hosts.toml. */
export interface HostEntry {
  /** Without a trailing slash. */
  base: string;
  /** override_path: `base` is the whole prefix. */
  whole: boolean;
  capabilities: readonly string[];
  tls?: Tls;
}

const CAPABILITIES = ["pull", "resolve", "push"];
const KEYS = ["capabilities", "ca", "client", "skip_verify", "override_path", "dial_timeout"];

/**
 * What `<directory>/<host>/hosts.toml`, or that of `_default`, says of a registry (containerd's docs/hosts.md): its
 * mirrors in order, and where the registry itself is. Undefined where there is none. Throws invalid for a wrong one.
 */
export function hostsOf(directory: string, domain: string): { mirrors: HostEntry[]; server?: HostEntry } | undefined {
  const own = directoryOf(domain, [directory]) ?? join(directory, "_default");
  const path = join(own, "hosts.toml");
  if (!existsSync(path)) return undefined;
  let root: Record<string, unknown>;
  try {
    root = Bun.TOML.parse(readText(path)) as Record<string, unknown>;
  } catch (error) {
    throw invalid(`${path}: ${messageOf(error)}`, error);
  }
  const { server, host = {}, ...rest } = root;
  const mirrors = Object.entries(table(host, `${path}: host`)).map(([url, entry]) => parseEntry(url, entry, path, own));
  if (server === undefined) {
    noMore(rest, path);
    return { mirrors };
  }
  return { mirrors, server: parseEntry(server, rest, path, own) };
}

function noMore(rest: Record<string, unknown>, path: string): void {
  const unknown = Object.keys(rest).find((key) => !KEYS.includes(key));
  if (unknown !== undefined) {
    throw invalid(`${path}: ${JSON.stringify(unknown.slice(0, 64))} is not supported${didYouMean(unknown, KEYS)}`);
  }
}

function parseEntry(url: unknown, value: unknown, path: string, directory: string): HostEntry {
  const at = `${path}: ${String(url).slice(0, 200)}`;
  const text = typeof url === "string" && !url.includes("://") ? `https://${url}` : url;
  const parsed = typeof text === "string" ? URL.parse(text) : null;
  if (!parsed || (parsed.protocol !== "https:" && parsed.protocol !== "http:") || parsed.username || parsed.search) {
    throw invalid(`${at}: is no http address`);
  }
  const entry = table(value, at);
  noMore(entry, at);
  const { capabilities = CAPABILITIES, ca, client, skip_verify: skip = false, override_path: whole = false } = entry;
  if (!isTexts(capabilities) || capabilities.some((word) => !CAPABILITIES.includes(word))) {
    throw invalid(`${at}: capabilities are of ${CAPABILITIES.join(", ")}`);
  }
  if (typeof skip !== "boolean" || typeof whole !== "boolean")
    throw invalid(`${at}: skip_verify and override_path are true or false`);
  const read = (file: string) => readText(isAbsolute(file) ? file : join(directory, file));
  const tls: { -readonly [K in keyof Tls]: Tls[K] } = {};
  if (ca !== undefined) tls.ca = (isTexts(ca) ? ca : [string(ca, `${at}: ca`)]).map(read);
  if (client !== undefined) {
    const first: unknown = Array.isArray(client) ? client[0] : client;
    const pair = Array.isArray(first) ? first : Array.isArray(client) ? client : [client, client];
    tls.cert = read(string(pair[0], `${at}: client`));
    tls.key = read(string(pair[1] ?? pair[0], `${at}: client`));
  }
  if (skip) tls.rejectUnauthorized = false;
  const base = `${parsed.origin}${parsed.pathname.replace(/\/+$/, "")}`;
  return { base, whole, capabilities, ...(Object.keys(tls).length > 0 ? { tls } : {}) };
}

function table(value: unknown, at: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid(`${at}: is no table`);
  return value as Record<string, unknown>;
}

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((item) => typeof item === "string");

function string(value: unknown, at: string): string {
  if (typeof value === "string" && value !== "") return value;
  throw invalid(`${at}: is no path`);
}
