import { invalid } from "../base/errors.ts";
import { API_VERSION, MIN_API_VERSION } from "../spec/docker-api.ts";
import type { Handler } from "./call.ts";
import { containerRoutes } from "./containers.ts";
import { execRoutes } from "./exec.ts";
import { imageRoutes } from "./images.ts";
import { runRoutes } from "./run.ts";
import { systemRoutes } from "./system.ts";

/** `*` is one part of a path, `**` one or more; more exact patterns stand before them in their tables. */
const routes = Object.entries({ ...systemRoutes, ...containerRoutes, ...execRoutes, ...imageRoutes, ...runRoutes }).map(
  ([pattern, handler]) => {
    const [method, path] = pattern.split(" ") as [string, string];
    const source = path.replace(/\*\*|\*/g, (stars) => (stars === "**" ? "(.+)" : "([^/]+)"));
    const [start = "", end = ""] = [path.split("*")[0], path.split("*").at(-1)];
    return { method, start, end, pattern: new RegExp(`^${source}$`), handler };
  },
);

export interface Found {
  handler: Handler;
  params: string[];
  version: number;
}

/** The route of a request; undefined is docker's "page not found". `path` is without the query. */
export function route(method: string, path: string): Found | undefined {
  const prefix = /^\/v([0-9.]{1,10})(\/.*)$/.exec(path);
  const version = prefix ? checkVersion(prefix[1]!) : Number(API_VERSION);
  const rest = prefix ? prefix[2]! : path;
  for (const { method: wanted, start, end, pattern, handler } of routes) {
    if (wanted !== method || !rest.startsWith(start) || !rest.endsWith(end)) continue;
    const match = pattern.exec(rest);
    if (match) return { handler, params: match.slice(1).map(decode), version };
  }
  return undefined;
}

function decode(part: string): string {
  if (!part.includes("%")) return part;
  try {
    return decodeURIComponent(part);
  } catch {
    throw invalid(`invalid escape in path: ${part.slice(0, 100)}`);
  }
}

const order = (version: string) => {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major * 1000 + minor;
};

function checkVersion(version: string): number {
  if (order(version) > order(API_VERSION)) {
    throw invalid(`client version ${version} is too new. Maximum supported API version is ${API_VERSION}`);
  }
  if (order(version) < order(MIN_API_VERSION)) {
    throw invalid(
      `client version ${version} is too old. Minimum supported API version is ${MIN_API_VERSION}, please upgrade your client to a newer version`,
    );
  }
  return Number(version);
}
