import { invalid } from "../base/errors.ts";

/** Where a repository is asked for. `base` has no trailing slash; `/v2/…` is appended. */
export interface Endpoint {
  base: string;
  mirror: boolean;
}

const DOCKER_HUB = "https://registry-1.docker.io";

/** How registries are reached. */
export interface Registries {
  /** `http(s)://host[:port][/path]`, asked in their order before docker.io. */
  mirrors?: readonly string[];
  /** `host[:port]` of registries without TLS. */
  insecure?: readonly string[];
}

/**
 * The endpoints for a reference's domain, in the order to try. Mirrors serve docker.io only, as dockerd's
 * registry-mirrors. Plain http is for loopback, and for who is named. Throws invalid for what is no host.
 */
export function endpoints(domain: string, { mirrors = [], insecure = [] }: Registries = {}): Endpoint[] {
  if (domain !== "docker.io") {
    const plain = isLoopback(domain) || insecure.includes(domain);
    const base = `${plain ? "http" : "https"}://${domain}`;
    // A port beyond 65535, or brackets around what is no address.
    if (!URL.canParse(base)) throw invalid(`invalid registry address ${JSON.stringify(domain.slice(0, 200))}`);
    return [{ base, mirror: false }];
  }
  return [
    ...mirrors.map((mirror) => ({ base: mirrorBase(mirror), mirror: true })),
    { base: DOCKER_HUB, mirror: false },
  ];
}

/** The registry itself, for what changes it: mirrors are for reading. */
export function originOf(domain: string, registries: Registries): Endpoint {
  return endpoints(domain, registries).at(-1)!;
}

/** `host[:port]` in 127.0.0.0/8, `[::1]` or `localhost`. */
export function isLoopback(domain: string): boolean {
  const host = domain.replace(/:\d+$/, "").toLowerCase();
  return host === "localhost" || host === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(host);
}

/** A mirror's URL without its end; throws invalid for what is none. */
export function mirrorBase(mirror: string): string {
  const url = URL.parse(mirror);
  if (!url || (url.protocol !== "https:" && url.protocol !== "http:") || url.search || url.hash || url.username) {
    throw invalid(`invalid registry mirror ${JSON.stringify(mirror)}: expected http(s)://host[:port][/path]`);
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}
