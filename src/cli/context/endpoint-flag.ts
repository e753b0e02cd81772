import { readFileSync } from "node:fs";
import { codeOf } from "../../base/errors.ts";
import { didYouMean } from "../../base/nearest.ts";
import type { ContextStore, StoredContext, TlsTexts } from "../../client/contexts.ts";
import { DEFAULT_CONTEXT } from "../../client/contexts.ts";
import { type Endpoint, parseEndpoint } from "../../client/endpoint.ts";
import { ExitError } from "../command.ts";
import type { EngineChoice } from "../engine-choice.ts";
import type { Flag } from "../flags.ts";
import { parseBool } from "../flags.ts";

export const dockerFlag: Flag = {
  name: "docker",
  type: "list",
  value: "key=value,…",
  help: "Endpoint: host, ca, cert, key (files), skip-tls-verify, or from (a context)",
};

export const descriptionFlag: Flag = { name: "description", type: "string", help: "Words about the context" };

type Endpointed = Pick<StoredContext, "host" | "skipTlsVerify" | "tls">;

const KEYS = ["from", "host", "ca", "cert", "key", "skip-tls-verify"];
const failure = (why: string) => new ExitError(1, `unable to create docker endpoint config: ${why}`);

/** What `--docker` says, read into memory. Nothing said is the endpoint of the default context. */
export function endpointFlag(words: readonly string[], store: ContextStore, choice: EngineChoice): Endpointed {
  const values = new Map<string, string>();
  for (const word of words.flatMap((text) => text.split(","))) {
    const at = word.indexOf("=");
    const key = at < 0 ? word : word.slice(0, at);
    if (!KEYS.includes(key)) throw failure(`unrecognized config key: ${key}${didYouMean(key, KEYS)}`);
    values.set(key, at < 0 ? "" : word.slice(at + 1));
  }
  const from = values.get("from");
  if (from) return named(from, store, choice);
  if (values.size === 0) return ofDefault(choice.defaultEndpoint());
  const host = values.get("host") ?? "";
  try {
    parseEndpoint(host);
  } catch (error) {
    throw failure((error as Error).message);
  }
  const tls: TlsTexts = {};
  for (const key of ["ca", "cert", "key"] as const) {
    const path = values.get(key);
    if (path) tls[`${key}.pem`] = read(path);
  }
  let skip = false;
  try {
    const text = values.get("skip-tls-verify");
    skip = text === undefined ? false : parseBool(text);
  } catch {
    throw failure(`skip-tls-verify: parsing ${JSON.stringify(values.get("skip-tls-verify"))}: invalid syntax`);
  }
  return { host, skipTlsVerify: skip, tls };
}

/** A context of the store, or the default one, which is in no store. */
export function named(name: string, store: ContextStore, choice: EngineChoice): StoredContext {
  if (name !== DEFAULT_CONTEXT) return store.get(name);
  return { name, description: "", ...ofDefault(choice.defaultEndpoint()) };
}

function ofDefault(endpoint: Endpoint): Endpointed {
  const tls: TlsTexts = {};
  const { ca, cert, key, verify = true } = (endpoint.kind === "tcp" && endpoint.tls) || {};
  if (ca !== undefined) tls["ca.pem"] = ca;
  if (cert !== undefined) tls["cert.pem"] = cert;
  if (key !== undefined) tls["key.pem"] = key;
  return { host: endpoint.url, skipTlsVerify: !verify, tls };
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw failure(`open ${path}: ${codeOf(error) === "ENOENT" ? "no such file or directory" : codeOf(error)}`);
  }
}

/** What hides the current context; the user may not know of it. */
export function overridden(name: string): string | undefined {
  const variable = ["INRO_HOST", "DOCKER_HOST"].find((one) => process.env[one]);
  if (variable === undefined) return undefined;
  return `Warning: ${variable} environment variable overrides the active context. To use ${name}, either set the global --context flag, or unset ${variable} environment variable.`;
}
