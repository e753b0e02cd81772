import { invalid } from "../base/errors.ts";
import type { EngineBuild } from "../engine/build/builds.ts";
import { parseExtraHost } from "../engine/config/hosts.ts";
import { hostPlatform, parsePlatform } from "../images/platform.ts";
import { parseReference } from "../images/reference.ts";
import { parseRegistryAuth, type RegistryAuth } from "../registry/auth.ts";
import { type Call, flag, integer } from "./call.ts";

/** What of the query is a build's own, and whether images are to be looked for anew. */
export function buildSettings(call: Call): { build: Omit<EngineBuild, "dockerfile" | "open">; pull: boolean } {
  const { query } = call;
  const args = stringMap(query.get("buildargs"), "buildargs");
  const labels = stringMap(query.get("labels"), "labels");
  const extraHosts = query.getAll("extrahosts").flatMap((entry) => entry.split(","));
  for (const entry of extraHosts.filter(Boolean)) parseExtraHost(entry);
  const auths = registryConfig(call.request.headers["x-registry-config"]?.toString() ?? "");
  const platform = query.get("platform");
  const pull = flag(query, "pull");
  const target = query.get("target");
  const build: Omit<EngineBuild, "dockerfile" | "open"> = {
    frontend: {
      ...(target ? { target } : {}),
      args: new Map(Object.entries(args).flatMap(([key, value]) => (value === null ? [] : [[key, value]]))),
      labels: new Map(Object.entries(labels).map(([key, value]) => [key, value ?? ""])),
      noCache: flag(query, "nocache"),
      contexts: new Map(),
      hasContext: true,
      allow: new Set(),
      buildPlatform: hostPlatform(),
      network: networkMode(query.get("networkmode")),
    },
    platforms: [platform ? parsePlatform(platform) : hostPlatform()],
    extraHosts: extraHosts.filter(Boolean),
    limits: limitsOf(query),
    resolve: (reference, wanted, signal) =>
      call.engine.builds.resolve(reference, wanted, { pull, auth: (name) => authFor(auths, name) }, signal),
  };
  return { build, pull };
}

export function networkMode(mode: string | null): "default" | "none" | "host" {
  if (!mode || mode === "default" || mode === "bridge") return "default";
  if (mode === "none" || mode === "host") return mode;
  throw invalid(
    `network mode ${JSON.stringify(mode.slice(0, 100))} is not supported for builds: use default, none or host`,
  );
}

function limitsOf(query: URLSearchParams): NonNullable<EngineBuild["limits"]> {
  const number = (name: string) => {
    const value = integer(query, name);
    return value ? value : undefined;
  };
  const limits = {
    memory: number("memory"),
    cpuPeriod: number("cpuperiod"),
    cpuQuota: number("cpuquota"),
    cpuShares: number("cpushares"),
    cpusetCpus: query.get("cpusetcpus") || undefined,
    cpusetMems: query.get("cpusetmems") || undefined,
  };
  const given = Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined));
  const ulimits = list(query.get("ulimits"), "ulimits").map((one) => {
    const { Name, Soft, Hard } = Object(one) as { Name?: unknown; Soft?: unknown; Hard?: unknown };
    if (typeof Name !== "string" || !/^[a-z]{1,20}$/.test(Name)) throw invalid("invalid ulimits: a name is missing");
    return { name: Name, soft: Number(Soft), hard: Number(Hard) };
  });
  const shmSize = number("shmsize");
  return {
    ...(Object.keys(given).length > 0 ? { limits: given } : {}),
    ...(shmSize ? { shmSize } : {}),
    ...(ulimits.length > 0 ? { ulimits } : {}),
  };
}

/** X-Registry-Config: credentials by registry, base64url of JSON. */
function registryConfig(header: string): Map<string, RegistryAuth> {
  if (header === "") return new Map();
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(header, "base64url").toString());
  } catch (error) {
    throw invalid("invalid X-Registry-Config header: not base64url of JSON", error);
  }
  return authsOf(value);
}

/** Credentials by registry, as clients send them. */
export function authsOf(value: unknown): Map<string, RegistryAuth> {
  const auths = new Map<string, RegistryAuth>();
  for (const [registry, one] of Object.entries(Object(value) as Record<string, unknown>)) {
    const auth = parseRegistryAuth(Buffer.from(JSON.stringify(one)).toString("base64url"));
    if (auth) auths.set(hostOf(registry), auth);
  }
  return auths;
}

const hostOf = (registry: string) => {
  const host = registry.replace(/^https?:\/\//, "").split("/")[0]!;
  return ["index.docker.io", "registry-1.docker.io"].includes(host) ? "docker.io" : host;
};

/** For an image's whole name. */
export function authFor(auths: ReadonlyMap<string, RegistryAuth>, name: string): RegistryAuth | undefined {
  return auths.get(parseReference(name).domain);
}

function parsed(text: string | null, name: string): unknown {
  if (!text) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalid(`invalid ${name}: not JSON`, error);
  }
}

function stringMap(text: string | null, name: string): Record<string, string | null> {
  const value = parsed(text, name) ?? {};
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw invalid(`invalid ${name}: not an object`);
  for (const one of Object.values(value)) {
    if (one !== null && typeof one !== "string") throw invalid(`invalid ${name}: a value is no text`);
  }
  return value as Record<string, string | null>;
}

function list(text: string | null, name: string): unknown[] {
  const value = parsed(text, name) ?? [];
  if (!Array.isArray(value)) throw invalid(`invalid ${name}: not a list`);
  return value;
}
