import { existsSync, readFileSync } from "node:fs";
import { splitCsv } from "../../base/csv.ts";
import type { BuildOutput } from "../../spec/build-stream.ts";
import { ExitError } from "../command.ts";

/** `key=value,…` of a flag; a key alone has the value "". */
export function fields(text: string, flag: string): Map<string, string> {
  let parts: string[];
  try {
    parts = splitCsv(text);
  } catch (error) {
    throw new ExitError(1, `invalid value for --${flag}: ${(error as Error).message}`);
  }
  return new Map(
    parts.map((part) => {
      const at = part.indexOf("=");
      return at < 0 ? [part, ""] : [part.slice(0, at).toLowerCase().trim(), part.slice(at + 1)];
    }),
  );
}

/** `-o`: `type=TYPE,…`, a directory, or `-`. */
export function parseOutput(text: string): BuildOutput {
  if (text === "-") return { type: "tar", dest: "-", attributes: {} };
  if (!text.includes("=")) return { type: "local", dest: text, attributes: {} };
  const given = fields(text, "output");
  const type = given.get("type");
  if (type === undefined) throw new ExitError(1, "type is required for output");
  given.delete("type");
  const dest = given.get("dest");
  given.delete("dest");
  const attributes = Object.fromEntries(given);
  if (type === "registry") return { type: "image", attributes: { push: "true", ...attributes } };
  if (type === "none" || type === "cacheonly") return { type: "cacheonly", attributes };
  if (!["image", "docker", "oci", "tar", "local"].includes(type))
    throw new ExitError(1, `unknown output type: ${type}`);
  if (type === "local" && !dest) throw new ExitError(1, "dest is required for local output");
  if (attributes.tar === "false" && (type === "oci" || type === "docker") && (!dest || dest === "-"))
    throw new ExitError(1, `dest=DIRECTORY is required for ${type} output with tar=false`);
  if ((type === "tar" || type === "oci") && !dest) return { type: type as "tar", dest: "-", attributes };
  return { type: type as BuildOutput["type"], ...(dest ? { dest } : {}), attributes };
}

/** `--secret id=ID[,src=FILE|,env=NAME]`: how each is read, when it is asked for. */
export function parseSecret(text: string): [id: string, read: () => Uint8Array] {
  const given = fields(text, "secret");
  const source = given.get("source") ?? given.get("src");
  const variable = given.get("env") ?? (given.get("type") === "env" ? (source ?? given.get("id")) : undefined);
  const id = given.get("id") ?? variable;
  if (!id) throw new ExitError(1, `invalid secret ${text}: an id is missing`);
  for (const key of given.keys()) {
    if (!["id", "src", "source", "env", "type"].includes(key))
      throw new ExitError(1, `unexpected key '${key}' in '${text}'`);
  }
  const environment = (name: string) => () => Buffer.from(process.env[name] ?? "");
  if (variable) return [id, environment(variable)];
  if (source === undefined && process.env[id] !== undefined) return [id, environment(id)];
  const path = source ?? id;
  if (!existsSync(path)) throw new ExitError(1, `failed to stat ${path}: stat ${path}: no such file or directory`);
  return [id, () => readFileSync(path)];
}

/** `--ssh default|ID[=SOCKET]`. */
export function parseSsh(text: string): [id: string, socket: string] {
  const at = text.indexOf("=");
  const id = at < 0 ? text : text.slice(0, at);
  const socket = at < 0 ? process.env.SSH_AUTH_SOCK : text.slice(at + 1);
  if (!socket) throw new ExitError(1, `invalid empty ssh agent socket for ${id}: make sure SSH_AUTH_SOCK is set`);
  return [id, socket];
}

/** `--build-arg NAME[=VALUE]`: a name alone has the environment's value, if there is one. */
export function buildArgs(given: readonly string[], proxies: Record<string, string>): Record<string, string> {
  const args: Record<string, string> = { ...proxies };
  for (const one of given) {
    const at = one.indexOf("=");
    if (at >= 0) args[one.slice(0, at)] = one.slice(at + 1);
    else if (process.env[one] !== undefined) args[one] = process.env[one];
  }
  const { SOURCE_DATE_EPOCH } = process.env;
  if (SOURCE_DATE_EPOCH && args.SOURCE_DATE_EPOCH === undefined) args.SOURCE_DATE_EPOCH = SOURCE_DATE_EPOCH;
  return args;
}
