import { InroError, invalid } from "../base/errors.ts";
import { API_VERSION, MIN_API_VERSION } from "../spec/docker-api.ts";
import { archiveRoutes } from "./archive.ts";
import { authRoutes } from "./auth.ts";
import { buildRoutes } from "./build.ts";
import { buildStreamRoutes } from "./build-stream.ts";
import { buildkitRoutes } from "./buildkit/routes.ts";
import type { Found, Handler } from "./call.ts";
import { containerRoutes } from "./containers.ts";
import { debugRoutes } from "./debug.ts";
import { diskUsageRoutes } from "./disk-usage.ts";
import { eventRoutes } from "./events.ts";
import { execRoutes } from "./exec.ts";
import { imageCopyRoutes } from "./image-copy.ts";
import { imageFilesRoutes } from "./image-files.ts";
import { imageRoutes } from "./images.ts";
import { networkRoutes } from "./networks.ts";
import { runRoutes } from "./run.ts";
import { statsRoutes } from "./stats.ts";
import { systemRoutes } from "./system.ts";
import { unbuiltRoutes } from "./unbuilt.ts";
import { volumeRoutes } from "./volumes.ts";

interface Route {
  /** Its key in the table. */
  key: string;
  handler: Handler;
  /** Absent: the path is the pattern. */
  pattern?: RegExp;
}

/**
 * The routes of all tables. A pattern is a method and a path in which `*` (or `**`) is a name of one or more parts, since
 * docker's names may hold slashes. Most paths are found whole; the others by method, first and last part, where few
 * share a bucket, the most exact first.
 */
class RouteTable {
  readonly #exact = new Map<string, Route>();
  readonly #buckets = new Map<string, Route[]>();

  constructor(private readonly routes: Record<string, Handler>) {
    // More text in a pattern is less left to its names.
    const byExactness = Object.keys(routes).sort((a, b) => textOf(b).length - textOf(a).length);
    for (const key of byExactness) {
      const [method, path] = key.split(" ") as [string, string];
      const handler = routes[key]!;
      if (!path.includes("*")) {
        this.#exact.set(key, { key, handler });
        continue;
      }
      const pattern = new RegExp(`^${path.replaceAll(".", "\\.").replace(/\*+/g, "(.+)")}$`);
      const bucket = bucketOf(method, path, path.endsWith("*") ? "*" : lastPart(path));
      this.#buckets.set(bucket, [...(this.#buckets.get(bucket) ?? []), { key, handler, pattern }]);
    }
  }

  get patterns(): string[] {
    return Object.keys(this.routes);
  }

  /** `path` without version and query. */
  find(method: string, path: string): Omit<Found, "version"> | undefined {
    const exact = this.#exact.get(`${method} ${path}`);
    if (exact) return { pattern: exact.key, handler: exact.handler, params: [] };
    for (const last of [lastPart(path), "*"]) {
      for (const { key, handler, pattern } of this.#buckets.get(bucketOf(method, path, last)) ?? []) {
        const match = pattern!.exec(path);
        if (match) return { pattern: key, handler, params: match.slice(1) };
      }
    }
    return undefined;
  }
}

const textOf = (pattern: string) => pattern.replaceAll("*", "");
const lastPart = (path: string) => path.slice(path.lastIndexOf("/") + 1);
const bucketOf = (method: string, path: string, last: string) => {
  const end = path.indexOf("/", 1);
  return `${method} ${end < 0 ? path : path.slice(0, end)} ${last}`;
};

const table = new RouteTable({
  ...unbuiltRoutes,
  ...systemRoutes,
  ...authRoutes,
  ...eventRoutes,
  ...containerRoutes,
  ...archiveRoutes,
  ...debugRoutes,
  ...execRoutes,
  ...imageRoutes,
  ...imageCopyRoutes,
  ...imageFilesRoutes,
  ...buildRoutes,
  ...buildkitRoutes,
  ...buildStreamRoutes,
  ...networkRoutes,
  ...volumeRoutes,
  ...diskUsageRoutes,
  ...runRoutes,
  ...statsRoutes,
});

const options: Handler = async () => ({ status: 200 });

/** A version below 1.23, whose clients read errors as plain text. */
export class AncientVersion extends InroError {}

/**
 * The route of a request; undefined is docker's "page not found", which a method that the path does not have is too.
 * `path` is without the query. Throws invalid for a version outside of `minVersion` and the newest.
 */
export function route(method: string, path: string, minVersion: string): Found | undefined {
  const prefix = path.startsWith("/v") ? /^\/v([0-9.]{1,10})(\/.*)$/.exec(path) : null;
  const version = prefix ? checkVersion(prefix[1]!, minVersion) : NEWEST;
  if (method === "OPTIONS") return { pattern: "OPTIONS *", handler: options, params: [], version };
  const found = table.find(method, prefix ? prefix[2]! : path);
  return found && { ...found, params: found.params.map(decode), version };
}

/** Keys of all routes. */
export const routePatterns = () => table.patterns;

/** The route of a GET of the engine's own. */
export const findGet = (path: string) => route("GET", path, MIN_API_VERSION);

function decode(part: string): string {
  if (!part.includes("%")) return part;
  try {
    return decodeURIComponent(part);
  } catch {
    throw invalid(`invalid escape in path: ${part.slice(0, 100)}`);
  }
}

const NEWEST = Number(API_VERSION);
/** From here on errors are JSON. */
const JSON_ERRORS = order("1.23");

function order(version: string): number {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major * 1000 + minor;
}

function checkVersion(version: string, minVersion: string): number {
  const asked = order(version);
  if (asked > order(API_VERSION)) {
    throw invalid(`client version ${version} is too new. Maximum supported API version is ${API_VERSION}`);
  }
  if (!(asked >= order(minVersion))) {
    const message = `client version ${version} is too old. Minimum supported API version is ${minVersion}, please upgrade your client to a newer version`;
    throw asked < JSON_ERRORS ? new AncientVersion("invalid", message) : invalid(message);
  }
  return Number(version);
}
