import { invalid } from "../base/errors.ts";

/** Where an engine listens. `default` is true for the socket that inro chose itself: only there it starts an engine. */
export type Endpoint = { url: string; default: boolean } & (
  | { kind: "unix"; path: string }
  | { kind: "tcp"; host: string; port: number }
);

type Environment = Record<string, string | undefined>;

/** The directory of the engine's socket, log and lock: /run/inro for root, else below XDG_RUNTIME_DIR. */
export function runDirectory(env: Environment = process.env): string {
  if (process.getuid?.() === 0) return "/run/inro";
  const base = env.XDG_RUNTIME_DIR;
  return base ? `${base}/inro` : `/tmp/inro-${process.getuid?.() ?? "user"}`;
}

/** The URL of the socket used when nothing else is said. */
export function defaultUrl(env: Environment = process.env): string {
  return `unix://${runDirectory(env)}/inro.sock`;
}

/**
 * Chooses the engine: `host` (the -H flag), INRO_HOST, DOCKER_HOST, the default socket. unix://PATH, PATH, and
 * tcp://HOST:PORT or http://HOST:PORT are understood; anything else is an `invalid` error.
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
  const match = /^(tcp|http):\/\/(\[[0-9a-fA-F:.]+\]|[^:/[\]]+)(?::(\d+))?\/?$/.exec(text);
  if (!match) throw invalid(`invalid host ${JSON.stringify(text)}: use unix://PATH or tcp://HOST:PORT`);
  const port = Number(match[3] ?? 2375);
  if (port < 1 || port > 65535) throw invalid(`invalid host ${JSON.stringify(text)}: port out of range`);
  return { kind: "tcp", host: match[2]!.replace(/^\[|\]$/g, ""), port, url: text, default: false };
}
