import { codeOf } from "../base/errors.ts";
import { stderr } from "./output.ts";

/** What the command line reads of docker's config.json. Other keys are other people's. */
export interface ConfigFile {
  /** Defaults of --format. */
  psFormat?: string;
  imagesFormat?: string;
  statsFormat?: string;
  volumesFormat?: string;
  networksFormat?: string;
  detachKeys?: string;
  /** `key=value` filters that every prune has. */
  pruneFilters?: string[];
  /** Name of the context that is used when nothing else is said. */
  currentContext?: string;
  /** Helper that keeps all credentials, and those for single registries. */
  credsStore?: string;
  credHelpers?: Record<string, string>;
  /** Credentials kept here: by registry. */
  auths?: Record<string, StoredAuth>;
  /** Sent with every request. */
  HttpHeaders?: Record<string, string>;
  /** By the engine's URL, or "default": variables that every new container gets. */
  proxies?: Record<string, Proxies>;
}

/** `auth` is base64 of `user:password`. */
export interface StoredAuth {
  auth?: string;
  identitytoken?: string;
  registrytoken?: string;
}

export interface Proxies {
  httpProxy?: string;
  httpsProxy?: string;
  ftpProxy?: string;
  noProxy?: string;
  allProxy?: string;
}

/** Where config.json is: `given` (--config), DOCKER_CONFIG, ~/.docker. */
export function configDirectory(given?: string, env: Record<string, string | undefined> = process.env): string {
  return given || env.DOCKER_CONFIG || `${env.HOME ?? ""}/.docker`;
}

/** Reads it; without a file, or with one that cannot be used, of which a warning tells, everything has its default. */
export async function readConfig(directory: string): Promise<ConfigFile> {
  const path = `${directory}/config.json`;
  try {
    // node:fs would cost 2 ms of a cold start, and an asynchronous read that finds nothing one.
    const stored = Bun.file(path);
    if (stored.size === 0) return {};
    const file: unknown = JSON.parse(await stored.text());
    if (typeof file !== "object" || file === null || Array.isArray(file)) throw new Error("it is no object");
    return checked(file as Record<string, unknown>);
  } catch (error) {
    if (!["ENOENT", "ENOTDIR", "EACCES"].includes(codeOf(error) ?? "")) {
      await stderr.line(`WARNING: Error loading config file: ${path}: ${(error as Error).message}`);
    }
    return {};
  }
}

const STRINGS = [
  "psFormat",
  "imagesFormat",
  "statsFormat",
  "volumesFormat",
  "networksFormat",
  "detachKeys",
  "currentContext",
  "credsStore",
] as const;

function checked(file: Record<string, unknown>): ConfigFile {
  const config: ConfigFile = {};
  for (const key of STRINGS) if (typeof file[key] === "string") config[key] = file[key];
  if (Array.isArray(file.pruneFilters))
    config.pruneFilters = file.pruneFilters.filter((one) => typeof one === "string");
  config.HttpHeaders = strings(file.HttpHeaders);
  if (file.credHelpers) config.credHelpers = strings(file.credHelpers);
  if (file.auths) {
    config.auths = {};
    for (const [registry, one] of Object.entries(object(file.auths))) config.auths[registry] = strings(one);
  }
  config.proxies = {};
  for (const [host, one] of Object.entries(object(file.proxies))) config.proxies[host] = strings(one);
  return config;
}

function object(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function strings(value: unknown): Record<string, string> {
  const pairs = Object.entries(object(value)).filter((pair): pair is [string, string] => typeof pair[1] === "string");
  // A line end would begin another header.
  return Object.fromEntries(pairs.filter(([key, text]) => !/[\r\n\0]/.test(key + text)));
}

const VARIABLES = {
  httpProxy: "HTTP_PROXY",
  httpsProxy: "HTTPS_PROXY",
  ftpProxy: "FTP_PROXY",
  noProxy: "NO_PROXY",
  allProxy: "ALL_PROXY",
} as const;

/** `env` with the proxies of the engine at `url`, in both spellings, unless a name is set already. */
export function withProxies(env: readonly string[], { proxies = {} }: ConfigFile, url: string): string[] {
  const chosen = proxies[url] ?? proxies.default ?? {};
  const set = new Set(env.map((one) => one.split("=")[0]));
  const added = Object.entries(VARIABLES).flatMap(([key, name]) => {
    const value = chosen[key as keyof Proxies];
    return value ? [name, name.toLowerCase()].filter((one) => !set.has(one)).map((one) => `${one}=${value}`) : [];
  });
  return [...env, ...added];
}
