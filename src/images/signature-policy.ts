import { invalid, messageOf } from "../base/errors.ts";
import { readText } from "../registry/tls.ts";
import { canonical, type Reference, repositoryName } from "./reference.ts";

/** What must hold for an image to be pulled; all of a list must. */
export type Requirement = { type: "insecureAcceptAnything" } | { type: "reject" } | SigstoreSigned;

export interface SigstoreSigned {
  type: "sigstoreSigned";
  trust: Trust;
  identity: Identity;
}

/** PEM texts: any of the keys; or a certificate of the authorities, for whom it names. */
export type Trust =
  | { keys: string[] }
  | { roots: string[]; intermediates: string[]; email?: string; hostname?: string };

/** What the signature must be for (signedIdentity). */
export type Identity =
  | { type: "matchExact" | "matchRepoDigestOrExact" | "matchRepository" | "matchDigest" }
  | { type: "exactReference"; reference: string }
  | { type: "exactRepository"; repository: string }
  | { type: "remapIdentity"; prefix: string; signedPrefix: string };

export interface SignaturePolicy {
  path: string;
  default: Requirement[];
  scopes: ReadonlyMap<string, Requirement[]>;
}

/**
 * Reads a policy (containers-policy.json(5)): `default`, and `transports.docker` by scope. What is unknown or not
 * supported is invalid, since leaving it out would allow too much. Files of keys are read with it. One type of identity is
 * more than there: `matchDigest`, for sigstore bundles, which do not say whose image they are about.
 */
export function readPolicy(path: string): SignaturePolicy {
  let root: unknown;
  try {
    root = JSON.parse(readText(path));
  } catch (error) {
    throw invalid(`signature policy ${path}: ${messageOf(error)}`, error);
  }
  const { default: fallback, transports = {} } = fields(root, path, ["default", "transports"]);
  if (fallback === undefined) throw invalid(`signature policy ${path}: default is missing`);
  const scopes = new Map<string, Requirement[]>();
  for (const [name, list] of Object.entries(fields(transports, `${path}: transports`))) {
    if (name !== "docker") continue;
    for (const [scope, value] of Object.entries(fields(list, `${path}: docker`))) {
      scopes.set(scope, requirements(value, `${path}: docker: ${scope}`));
    }
  }
  return { path, default: requirements(fallback, `${path}: default`), scopes };
}

/** The requirements of the scope that fits best: the reference, its repository, each part above, `*.` of its domain, "". */
export function requirementsFor({ scopes, default: fallback }: SignaturePolicy, reference: Reference): Requirement[] {
  const candidates = [canonical(reference)];
  const repository = repositoryName(reference);
  for (let name = repository; name !== ""; name = name.slice(0, Math.max(0, name.lastIndexOf("/"))))
    candidates.push(name);
  for (let host = reference.domain, dot = host.indexOf("."); dot >= 0; dot = host.indexOf(".")) {
    host = host.slice(dot + 1);
    candidates.push(`*.${host}`);
  }
  candidates.push("");
  const found = candidates.find((candidate) => scopes.has(candidate));
  return found === undefined ? fallback : scopes.get(found)!;
}

function requirements(value: unknown, at: string): Requirement[] {
  if (!Array.isArray(value) || value.length === 0) throw invalid(`signature policy ${at}: is no list of requirements`);
  return value.map((one) => requirement(one, at));
}

const SIGSTORE = ["type", "keyPath", "keyPaths", "keyData", "keyDatas", "pki", "signedIdentity"];

function requirement(value: unknown, at: string): Requirement {
  const { type } = fields(value, at);
  if (type === "insecureAcceptAnything" || type === "reject") {
    fields(value, at, ["type"]);
    return { type };
  }
  if (type !== "sigstoreSigned") throw invalid(`signature policy ${at}: ${shown(type)} is not supported`);
  const from = fields(value, at, SIGSTORE);
  const keys = [
    ...texts(from.keyPath, at).map(readText),
    ...texts(from.keyPaths, at).map(readText),
    ...texts(from.keyData, at).map(decoded),
    ...texts(from.keyDatas, at).map(decoded),
  ];
  if (keys.length > 0 === (from.pki !== undefined)) {
    throw invalid(`signature policy ${at}: one of keyPath, keyPaths, keyData, keyDatas and pki is needed`);
  }
  const trust = from.pki === undefined ? { keys } : authorities(from.pki, `${at}: pki`);
  return { type, trust, identity: identityOf(from.signedIdentity ?? { type: "matchRepoDigestOrExact" }, at) };
}

function authorities(value: unknown, at: string): Trust {
  const names = [
    "caRootsPath",
    "caRootsData",
    "caIntermediatesPath",
    "caIntermediatesData",
    "subjectEmail",
    "subjectHostname",
  ];
  const from = fields(value, at, names);
  const roots = [...texts(from.caRootsPath, at).map(readText), ...texts(from.caRootsData, at).map(decoded)];
  const [email] = texts(from.subjectEmail, at);
  const [hostname] = texts(from.subjectHostname, at);
  if (roots.length === 0) throw invalid(`signature policy ${at}: caRootsPath is missing`);
  if (email === undefined && hostname === undefined) {
    throw invalid(`signature policy ${at}: one of subjectEmail and subjectHostname is needed`);
  }
  return {
    roots,
    intermediates: [
      ...texts(from.caIntermediatesPath, at).map(readText),
      ...texts(from.caIntermediatesData, at).map(decoded),
    ],
    ...(email === undefined ? {} : { email }),
    ...(hostname === undefined ? {} : { hostname }),
  };
}

function identityOf(value: unknown, at: string): Identity {
  const { type, ...rest } = fields(value, at);
  const text = (name: string) => {
    const found = rest[name];
    if (typeof found !== "string" || found === "") throw invalid(`signature policy ${at}: ${name} is missing`);
    return found;
  };
  switch (type) {
    case "matchExact":
    case "matchRepoDigestOrExact":
    case "matchRepository":
    case "matchDigest":
      return { type };
    case "exactReference":
      return { type, reference: text("dockerReference") };
    case "exactRepository":
      return { type, repository: text("dockerRepository") };
    case "remapIdentity":
      return { type, prefix: text("prefix"), signedPrefix: text("signedPrefix") };
    default:
      throw invalid(`signature policy ${at}: signedIdentity ${shown(type)} is not supported`);
  }
}

function fields(value: unknown, at: string, known?: string[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalid(`signature policy ${at}: is no object`);
  }
  const unknown = Object.keys(value).find((key) => known && !known.includes(key));
  if (unknown !== undefined) throw invalid(`signature policy ${at}: ${shown(unknown)} is not supported`);
  return value as Record<string, unknown>;
}

function texts(value: unknown, at: string): string[] {
  if (value === undefined) return [];
  const list = Array.isArray(value) ? value : [value];
  if (list.every((item) => typeof item === "string" && item !== "")) return list as string[];
  throw invalid(`signature policy ${at}: a text is expected`);
}

const decoded = (base64: string) => Buffer.from(base64, "base64").toString();
const shown = (value: unknown) => JSON.stringify(String(value).slice(0, 100));
