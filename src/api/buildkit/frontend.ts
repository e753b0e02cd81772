import { parseBytes } from "../../base/bytes.ts";
import { splitCsv } from "../../base/csv.ts";
import { invalid, messageOf, notImplemented } from "../../base/errors.ts";
import type { NamedContext } from "../../build/frontend/options.ts";
import { gitReference, isUrl } from "../../build/frontend/remote.ts";
import type { OpenContext } from "../../build/roots.ts";
import type { Builds, EngineBuild } from "../../engine/build/builds.ts";
import { parseExtraHost } from "../../engine/config/hosts.ts";
import { hostPlatform, parsePlatform } from "../../images/platform.ts";
import { networkMode } from "../build-settings.ts";
import { SessionClient } from "./session-client.ts";
import type { Session } from "./sessions.ts";

/** The frontend that is known: Dockerfiles (docs/reference/frontends of BuildKit). */
export const DOCKERFILE = "dockerfile.v0";

/** What a client asks of the Dockerfile instead of a build. */
export type Subrequest = "check" | "outline" | "targets";

export interface FrontendBuild {
  readonly build: EngineBuild;
  /** The caller closes it after the build. */
  readonly client: SessionClient;
  readonly subrequest?: Subrequest;
}

const SUBREQUESTS: Readonly<Record<string, Subrequest>> = {
  "frontend.lint": "check",
  "frontend.outline": "outline",
  "frontend.targets": "targets",
};

/** Attributes with names of the user's: `build-arg:NAME`. */
function prefixed(attributes: ReadonlyMap<string, string>, prefix: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const [key, value] of attributes) if (key.startsWith(prefix)) found.set(key.slice(prefix.length), value);
  return found;
}

/**
 * A build as the attributes of `dockerfile.v0` describe it (frontend/dockerui/config.go of BuildKit has their names).
 * Errors: invalid; notImplemented for what would change the result and is not there.
 */
export function frontendBuild(
  builds: Builds,
  session: Session,
  attributes: ReadonlyMap<string, string>,
  allow: ReadonlySet<string>,
): FrontendBuild {
  const get = (name: string) => attributes.get(name) || undefined;
  const named = prefixed(attributes, "context:");
  const directories = new Map([["context", get("contextkey") ?? "context"]]);
  const contexts = new Map<string, NamedContext>();
  for (const [name, value] of named) contexts.set(name, namedContext(name, value, directories));
  const remote = get("context");
  const client = new SessionClient(session, builds, get("filename") ?? "Dockerfile", {
    dockerfile: get("dockerfilekey") ?? "dockerfile",
    contexts: directories,
  });
  const platforms = (get("platform") ?? "").split(",").filter(Boolean).map(parsePlatform);
  const noCache = attributes.get("no-cache");
  const target = get("target");
  const pull = get("image-resolve-mode") === "pull";
  const requestId = get("requestid");
  const subrequest = requestId === undefined ? undefined : SUBREQUESTS[requestId];
  if (requestId !== undefined && !subrequest) throw notImplemented(`unsupported request ${requestId.slice(0, 60)}`);
  if (remote && !gitReference(remote) && !isUrl(remote)) throw invalid(`invalid context ${remote.slice(0, 200)}`);
  let fetched: Promise<OpenContext> | undefined;
  const build: EngineBuild = {
    frontend: {
      ...(target ? { target } : {}),
      args: prefixed(attributes, "build-arg:"),
      labels: prefixed(attributes, "label:"),
      noCache: noCache === undefined ? false : noCache === "" || new Set(noCache.toLowerCase().split(",")),
      contexts,
      hasContext: true,
      allow,
      buildPlatform: hostPlatform(),
      network: networkMode(get("force-network-mode") ?? null),
    },
    platforms: platforms.length > 0 ? platforms : [hostPlatform()],
    extraHosts: hostsOf(get("add-hosts")),
    limits: limitsOf(attributes),
    dockerfile: (signal) => client.dockerfile(signal),
    open(name, transferred, signal) {
      if (name !== "context" || !remote) return client.open(name, transferred, signal);
      fetched ??= remoteContext(builds, build, remote, signal);
      return fetched;
    },
    secret: (id) => client.secret(id, session.gone),
    agent: (id) => client.agent(id, session.gone),
    async resolve(reference, platform, signal) {
      const here = pull ? undefined : builds.local(reference, platform);
      if (here) return here;
      const auth = await client.credentials(reference, signal);
      return await builds.resolve(reference, platform, { pull, auth: () => auth }, signal);
    },
  };
  return { build, client, ...(subrequest ? { subrequest } : {}) };
}

async function remoteContext(
  builds: Builds,
  build: EngineBuild,
  url: string,
  signal: AbortSignal,
): Promise<OpenContext> {
  const remote = await builds.remote(build, gitReference(url) ? { git: url } : { http: url }, signal);
  if ("dockerfile" in remote) throw invalid("what the URL has is a Dockerfile: this build has no context");
  return remote;
}

/** A named context; those of the client's files go into `directories`. */
function namedContext(name: string, value: string, directories: Map<string, string>): NamedContext {
  const [, scheme, rest = ""] = /^([a-z-]+):(?:\/\/)?(.*)$/s.exec(value) ?? [];
  if (scheme === "local") {
    directories.set(name, rest);
    return { kind: "files" };
  }
  if (scheme === "docker-image") return { kind: "image", reference: rest };
  if (gitReference(value)) return { kind: "git", reference: value };
  if (isUrl(value)) return { kind: "http", url: value };
  throw notImplemented(`build context ${name.slice(0, 100)}=${value.slice(0, 200)} is not supported`);
}

/** `name=address`, several by commas; a name may be there twice. */
function hostsOf(text: string | undefined): string[] {
  if (!text) return [];
  const hosts = fields(text, "add-hosts").map((entry) => entry.replace("=", ":"));
  for (const entry of hosts) parseExtraHost(entry);
  return hosts;
}

function limitsOf(attributes: ReadonlyMap<string, string>): NonNullable<EngineBuild["limits"]> {
  const shm = attributes.get("shm-size");
  const ulimits = fields(attributes.get("ulimit") ?? "", "ulimit").map((text) => {
    const [, name, soft, hard] = /^([a-z]{1,20})=(-?\d{1,15})(?::(-?\d{1,15}))?$/.exec(text) ?? [];
    if (name === undefined) throw invalid(`invalid ulimit ${JSON.stringify(text.slice(0, 100))}`);
    return { name, soft: Number(soft), hard: Number(hard ?? soft) };
  });
  return { ...(shm ? { shmSize: parseBytes(shm) } : {}), ...(ulimits.length > 0 ? { ulimits } : {}) };
}

function fields(text: string, attribute: string): string[] {
  try {
    return splitCsv(text).filter(Boolean);
  } catch (error) {
    throw invalid(`invalid ${attribute}: ${messageOf(error)}`, error);
  }
}
