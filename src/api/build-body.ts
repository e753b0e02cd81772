import { invalid } from "../base/errors.ts";
import { type CacheOption, cacheOption } from "../engine/build/cache-options.ts";
import { boolean, integer, list, map, object, record, text } from "../engine/config/fields.ts";
import { parseExtraHost } from "../engine/config/hosts.ts";
import { parseReference } from "../images/reference.ts";
import type { BuildAttestations, BuildBody, BuildContextSource } from "../spec/build-stream.ts";

const MAX_OUTPUTS = 100;

const source = (value: unknown, at: string): BuildContextSource => {
  const { files, key, image, git, http, tar } = object<{
    files: number;
    key: string;
    image: string;
    git: string;
    http: string;
    tar: boolean;
  }>({ files: integer, key: text, image: text, git: text, http: text, tar: boolean })(value, at);
  if (files !== undefined) return { files, key: key ?? "" };
  if (image !== undefined) return { image };
  if (git !== undefined) return { git };
  if (http !== undefined) return { http };
  if (tar) return { tar };
  throw invalid(`${at}: a build context must be files, an image, a repository or a URL`);
};

const longText = (value: unknown, at: string): string => {
  if (typeof value !== "string") throw invalid(`${at}: expected a text`);
  return value;
};

const shape = object<BuildBody>({
  dockerfile: longText,
  dockerfileName: text,
  context: source,
  contexts: map(source),
  tags: list(text),
  target: text,
  args: map(text),
  labels: map(text),
  annotations: list(text),
  platforms: list(text),
  noCache: boolean,
  noCacheFilter: list(text),
  pull: boolean,
  network: text,
  extraHosts: list(text),
  shmSize: integer,
  ulimits: list((value, at) => {
    const {
      Name = "",
      Soft = 0,
      Hard = 0,
    } = object<{ Name: string; Soft: number; Hard: number }>({
      Name: text,
      Soft: integer,
      Hard: integer,
    })(value, at);
    if (!/^[a-z]{1,20}$/.test(Name)) throw invalid(`${at}: no name of a limit`);
    return { Name, Soft, Hard };
  }),
  cgroupParent: text,
  secrets: list(text),
  agents: list(text),
  outputs: list((value, at) => {
    const {
      type = "image",
      dest,
      attributes = {},
    } = object<{ type: string; dest: string; attributes: Record<string, string> }>({
      type: text,
      dest: text,
      attributes: map(text),
    })(value, at);
    if (!isOutput(type)) throw invalid(`unknown output type ${JSON.stringify(type.slice(0, 60))}`);
    return { type, ...(dest === undefined ? {} : { dest }), attributes };
  }),
  cacheFrom: list(map(text)),
  cacheTo: list(map(text)),
  allow: list(text),
  call: (value, at) => {
    if (value !== "check" && value !== "outline" && value !== "targets") throw invalid(`${at}: unknown`);
    return value;
  },
  attestations: object<BuildAttestations>({
    sbom: boolean,
    provenance: (value, at) => {
      if (value !== "min" && value !== "max") throw invalid(`${at}: expected min or max`);
      return value;
    },
  }),
  auths: record,
});

const OUTPUTS = ["image", "docker", "oci", "tar", "local", "cacheonly"] as const;
const isOutput = (type: string): type is (typeof OUTPUTS)[number] => (OUTPUTS as readonly string[]).includes(type);

/** The body of a request for a build, whole and checked; it is a stranger's. Errors are invalid, and notImplemented. */
export function bodyOf(value: unknown): BuildBody {
  const body: BuildBody = {
    dockerfileName: "Dockerfile",
    contexts: {},
    tags: [],
    args: {},
    labels: {},
    annotations: [],
    platforms: [],
    noCache: false,
    noCacheFilter: [],
    pull: false,
    network: "default",
    extraHosts: [],
    ulimits: [],
    secrets: [],
    agents: [],
    outputs: [],
    cacheFrom: [],
    cacheTo: [],
    allow: [],
    auths: {},
    ...shape(value, ""),
  };
  for (const tag of body.tags) parseReference(tag);
  for (const entry of body.extraHosts) parseExtraHost(entry);
  for (const entitlement of body.allow) {
    if (entitlement === "network.host" || entitlement === "security.insecure") continue;
    throw invalid(`invalid entitlement ${JSON.stringify(entitlement.slice(0, 100))}`);
  }
  cachesOf(body);
  const { sbom, provenance } = body.attestations ?? {};
  if ((sbom || provenance) && !body.outputs.some(({ attributes }) => attributes.push === "true"))
    throw invalid("attestations are attached to an image at its registry: push it (--push)");
  if (body.outputs.length > MAX_OUTPUTS) throw invalid(`more than ${MAX_OUTPUTS} outputs`);
  return body;
}

/** The caches that it names. Errors are invalid, and notImplemented. */
export function cachesOf({ cacheFrom, cacheTo }: BuildBody): { from: CacheOption[]; to: CacheOption[] } {
  return {
    from: cacheFrom.map((given) => cacheOption(given, "--cache-from", true)),
    // Where the client has one go to is its number.
    to: cacheTo.map((given, index) =>
      cacheOption(given.type === "local" ? { ...given, files: `${index}` } : given, "--cache-to", true),
    ),
  };
}
