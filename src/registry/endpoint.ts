import { BlockList, isIP } from "node:net";
import { invalid } from "../base/errors.ts";
import { type HostEntry, hostsOf } from "./hosts.ts";
import { certificatesOf, type Tls } from "./tls.ts";

/** Where a repository is asked for. `base` has no trailing slash; `/v2/…` is appended unless `whole`. */
export interface Endpoint {
  base: string;
  mirror: boolean;
  /** `base` is the whole prefix of repositories (override_path). */
  whole?: boolean;
  /** The registry that a mirror stands for, told it as `?ns=`. */
  namespace?: string;
  /** It has blobs and manifests by digest, but does not say what a tag is. */
  digestsOnly?: boolean;
  /** The certificates for a server that a request goes to. */
  tls?: (url: URL) => Tls | undefined;
}

const DOCKER_HUB = "https://registry-1.docker.io";

/** How registries are reached. */
export interface Registries {
  /** `http(s)://host[:port][/path]`, asked in their order before docker.io; with `HOST=` in front, before that registry. */
  mirrors?: readonly string[];
  /** `host[:port]` of registries without TLS, or networks such as 10.0.0.0/8 that they are in. */
  insecure?: readonly string[];
  /** PEM files of authorities to trust beside the system's; with `HOST=` in front, for that registry only. */
  ca?: readonly string[];
  /** Directories with one a registry, as docker's and containerd's certs.d; the first that has it counts. */
  certs?: readonly string[];
  /** A file that says which images may be pulled, and whose signatures they need (containers-policy.json(5)). */
  policy?: string;
}

/**
 * The endpoints for a reference's domain, in the order to try, the registry itself last. Mirrors are those of the settings
 * and of hosts.toml. Plain http is for loopback, for who is named, and for what hosts.toml says. Throws invalid for what
 * is no host, and for files that are wrong.
 */
export function endpoints(domain: string, registries: Registries = {}): Endpoint[] {
  const { mirrors = [], insecure = [] } = registries;
  const hub = domain === "docker.io";
  const from = hosts(domain, registries);
  const has = certificatesOf(domain, registries) !== undefined;
  const plain = !has && (isLoopback(domain) || isInsecure(domain, insecure));
  const base = hub ? DOCKER_HUB : `${plain ? "http" : "https"}://${domain}`;
  // A port beyond 65535, or brackets around what is no address.
  if (!URL.canParse(base)) throw invalid(`invalid registry address ${JSON.stringify(domain.slice(0, 200))}`);
  const tls = (url: URL) => certificatesOf(url.host, registries);
  const own: Endpoint = { base, mirror: false, tls };
  const server = from?.server ? [fromHost(from.server, domain, false, tls)] : [own];
  return [
    ...mirrors.map(splitMirror).flatMap(({ host, url }): Endpoint[] => {
      if (host !== domain) return [];
      return [{ base: url, mirror: true, tls, ...(hub ? {} : { namespace: domain }) }];
    }),
    ...(from?.mirrors ?? [])
      .filter((entry) => entry.capabilities.includes("pull"))
      .map((entry) => fromHost(entry, domain, true, tls)),
    ...server,
  ];
}

function hosts(domain: string, { certs = [] }: Registries) {
  for (const directory of certs) {
    const found = hostsOf(directory, domain);
    if (found) return found;
  }
  return undefined;
}

function fromHost(entry: HostEntry, domain: string, mirror: boolean, tls: NonNullable<Endpoint["tls"]>): Endpoint {
  const { origin } = new URL(entry.base);
  return {
    base: entry.base,
    mirror,
    whole: entry.whole,
    ...(mirror ? { namespace: domain } : {}),
    ...(entry.capabilities.includes("resolve") ? {} : { digestsOnly: true }),
    // What the file says of one host is for that host; its redirects and token servers have files of their own.
    tls: (url) => (entry.tls && url.origin === origin ? { ...tls(url), ...entry.tls } : tls(url)),
  };
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

function isInsecure(domain: string, insecure: readonly string[]): boolean {
  if (insecure.includes(domain)) return true;
  const host = domain.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
  const family = isIP(host);
  if (family === 0) return false;
  const networks = new BlockList();
  for (const text of insecure) {
    const network = parseNetwork(text);
    if (network) networks.addSubnet(network.address, network.prefix, network.family);
  }
  return networks.check(host, family === 4 ? "ipv4" : "ipv6");
}

/** `10.0.0.0/8`; undefined for what is no network. */
export function parseNetwork(text: string): { address: string; prefix: number; family: "ipv4" | "ipv6" } | undefined {
  const [, address, bits] = /^([0-9a-fA-F.:]+)\/(\d{1,3})$/.exec(text) ?? [];
  const version = isIP(address ?? "");
  const prefix = Number(bits);
  if (version === 0 || prefix > (version === 4 ? 32 : 128)) return undefined;
  return { address: address!, prefix, family: version === 4 ? "ipv4" : "ipv6" };
}

/** A mirror of the settings: whose, and its URL without its end. Throws invalid for what is none. */
export function splitMirror(text: string): { host: string; url: string } {
  const [, host, url] = /^([\w.:[\]-]+)=(.*)$/.exec(text) ?? [undefined, "docker.io", text];
  return { host: host!, url: mirrorBase(url!) };
}

/** A mirror's URL without its end; throws invalid for what is none. */
export function mirrorBase(mirror: string): string {
  const url = URL.parse(mirror);
  if (!url || (url.protocol !== "https:" && url.protocol !== "http:") || url.search || url.hash || url.username) {
    throw invalid(
      `invalid registry mirror ${JSON.stringify(mirror)}: expected [host[:port]=]http(s)://host[:port][/path]`,
    );
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}
