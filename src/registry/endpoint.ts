import { invalid } from "../base/errors.ts";

/** Where a repository is asked for. `base` has no trailing slash; `/v2/…` is appended. */
export interface Endpoint {
  base: string;
  mirror: boolean;
}

const DOCKER_HUB = "https://registry-1.docker.io";

/**
 * The endpoints for a reference's domain, in the order to try. A mirror serves docker.io only, as dockerd's
 * registry-mirrors. Plain http is for loopback only.
 */
export function endpoints(domain: string, mirror?: string): Endpoint[] {
  if (domain !== "docker.io") return [{ base: `${isLoopback(domain) ? "http" : "https"}://${domain}`, mirror: false }];
  const origin = { base: DOCKER_HUB, mirror: false };
  return mirror === undefined ? [origin] : [{ base: mirrorBase(mirror), mirror: true }, origin];
}

/** `host[:port]` in 127.0.0.0/8, `[::1]` or `localhost`. */
export function isLoopback(domain: string): boolean {
  const host = domain.replace(/:\d+$/, "").toLowerCase();
  return host === "localhost" || host === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(host);
}

function mirrorBase(mirror: string): string {
  const url = URL.parse(mirror);
  if (!url || (url.protocol !== "https:" && url.protocol !== "http:") || url.search || url.hash || url.username) {
    throw invalid(`invalid registry mirror ${JSON.stringify(mirror)}: expected http(s)://host[:port][/path]`);
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}
