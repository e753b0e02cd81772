import { invalid } from "../base/errors.ts";
import { ownerUid } from "../base/owner.ts";

/** What a client shows and asks to see on TCP, as PEM text. */
export interface ClientTls {
  /** Who signs the engine's certificate; absent: the authorities that the machine knows. */
  ca?: string;
  cert?: string;
  key?: string;
  /** False takes any certificate. */
  verify: boolean;
}

/** Where an engine listens. `default` is true for the socket that inro chose itself: only there it starts an engine. */
export type Endpoint = { url: string; default: boolean } & (
  | { kind: "unix"; path: string }
  | { kind: "tcp"; host: string; port: number; tls?: ClientTls }
  /** By way of ssh(1) and the `system dial-stdio` of that machine, for `path` there or its default. */
  | { kind: "ssh"; host: string; user?: string; port?: number; path?: string }
);

type Environment = Record<string, string | undefined>;

/** The directory of the engine's socket, log and lock: /run/inro for root, else below XDG_RUNTIME_DIR. */
export function runDirectory(env: Environment = process.env): string {
  const uid = ownerUid(env);
  if (uid === 0) return "/run/inro";
  const base = env.XDG_RUNTIME_DIR;
  return base ? `${base}/inro` : `/tmp/inro-${uid}`;
}

/** The URL of the socket used when nothing else is said. */
export function defaultUrl(env: Environment = process.env): string {
  return `unix://${runDirectory(env)}/inro.sock`;
}

/**
 * Chooses the engine: `host` (the -H flag), INRO_HOST, DOCKER_HOST, the default socket. unix://PATH, PATH,
 * tcp://HOST:PORT, http://HOST:PORT and ssh://USER@HOST are understood; anything else is an `invalid` error.
 */
export function resolveEndpoint(host?: string, env: Environment = process.env): Endpoint {
  const given = host || env.INRO_HOST || env.DOCKER_HOST;
  if (given) {
    const endpoint = parseEndpoint(given);
    const autostart = !host && given === env.INRO_HOST && env.INRO_AUTOSTART === "1" && endpoint.kind === "unix";
    return { ...endpoint, default: autostart };
  }
  return { ...parseEndpoint(defaultUrl(env)), default: env.INRO_AUTOSTART !== "0" };
}

/** Reads one host URL; `default` is false. */
export function parseEndpoint(text: string): Endpoint {
  if (text.startsWith("/")) return parseEndpoint(`unix://${text}`);
  if (text.startsWith("unix://")) {
    const path = text.slice("unix://".length);
    if (!path.startsWith("/")) throw invalid(`invalid host ${JSON.stringify(text)}: the socket path must be absolute`);
    return { kind: "unix", path, url: text, default: false };
  }
  if (text.startsWith("ssh://")) return parseSsh(text);
  const match = /^(tcp|http):\/\/(\[[0-9a-fA-F:.]+\]|[^:/[\]]+)(?::(\d+))?\/?$/.exec(text);
  if (!match)
    throw invalid(`invalid host ${JSON.stringify(text)}: use unix://PATH, tcp://HOST:PORT or ssh://USER@HOST`);
  const port = Number(match[3] ?? DEFAULT_PORT);
  if (port < 1 || port > 65535) throw invalid(`invalid host ${JSON.stringify(text)}: port out of range`);
  return { kind: "tcp", host: match[2]!.replace(/^\[|\]$/g, ""), port, url: text, default: false };
}

const DEFAULT_PORT = 2375;
const DEFAULT_TLS_PORT = 2376;

/** The same endpoint spoken to with TLS, where it is TCP. */
export function withTls(endpoint: Endpoint, tls: ClientTls | undefined): Endpoint {
  if (endpoint.kind !== "tcp" || !tls) return endpoint;
  const named = /:\d+\/?$/.test(endpoint.url);
  return { ...endpoint, tls, port: named ? endpoint.port : DEFAULT_TLS_PORT };
}

/** `ssh://[USER@]HOST[:PORT][/PATH]`. Nothing in it can be an option of ssh(1) or a word of the shell there (CVE-2017-1000117). */
function parseSsh(text: string): Endpoint {
  const fail = (why: string) => invalid(`invalid host ${JSON.stringify(text)}: ${why}`);
  const match = /^ssh:\/\/(?:([^@/]*)@)?(\[[0-9a-fA-F:.]+\]|[^:/@]*)(?::(\d{1,5}))?(\/.*)?$/.exec(text);
  if (!match) throw fail("use ssh://USER@HOST:PORT");
  const [, user, host = "", port, path] = match;
  if (user?.includes(":")) throw fail("plain-text password is not supported");
  if (!/^[\w.[][\w.:\]-]*$/.test(host)) throw fail("no such name of a host");
  if (user !== undefined && !/^[\w.][\w.-]*$/.test(user)) throw fail("no such name of a user");
  if (path !== undefined && !/^[\w./@+-]*$/.test(path)) throw fail("the path has characters that a shell would read");
  return {
    kind: "ssh",
    host: host.replace(/^\[|\]$/g, ""),
    url: text,
    default: false,
    ...(user ? { user } : {}),
    ...(port ? { port: Number(port) } : {}),
    ...(path && path !== "/" ? { path } : {}),
  };
}
