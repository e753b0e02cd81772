import { hostname } from "node:os";
import { invalid, messageOf } from "../../base/errors.ts";
import { LONGEST_NAME, safePattern } from "../../base/pattern.ts";
import { compileTemplate } from "../../base/template/template.ts";
import { parseRfc3339 } from "../clock.ts";
import type { ContainerRecord } from "../store.ts";

/** JSON of a map as Go's encoder writes it: keys in order, and <, > and & as escapes. */
export function goJson(map: Record<string, string>): string {
  const sorted = Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)));
  return JSON.stringify(sorted).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** What the log options `labels`, `labels-regex`, `env` and `env-regex` choose of a container. Throws invalid. */
export function extraAttributes(
  { config, host }: Pick<ContainerRecord, "config" | "host">,
  key: (name: string) => string = (name) => name,
): Record<string, string> {
  const options = host.LogConfig?.Config ?? {};
  const attributes: Record<string, string> = {};
  const choose = (known: Record<string, string>, list: string | undefined, pattern: string | undefined) => {
    for (const name of list ? list.split(",") : []) {
      if (Object.hasOwn(known, name)) attributes[key(name)] = known[name]!;
    }
    if (!pattern) return;
    const regex = goRegExp(pattern);
    for (const [name, value] of Object.entries(known)) {
      if (name.length <= LONGEST_NAME && regex.test(name)) attributes[key(name)] = value;
    }
  };
  choose(config.Labels ?? {}, options.labels, options["labels-regex"]);
  if (options.env || options["env-regex"]) {
    const variables: Record<string, string> = {};
    for (const variable of config.Env ?? []) {
      const at = variable.indexOf("=");
      if (at >= 0) variables[variable.slice(0, at)] = variable.slice(at + 1);
    }
    choose(variables, options.env, options["env-regex"]);
  }
  return attributes;
}

/** A pattern of Go's regexp (RE2) as far as JavaScript has it. */
function goRegExp(pattern: string): RegExp {
  const [, flags = "", rest = pattern] = /^\(\?([is]+)\)(.*)$/s.exec(pattern) ?? [];
  const source = rest.replaceAll("(?P<", "(?<");
  const regex = safePattern(source, `u${flags}`);
  if (regex) return regex;
  try {
    new RegExp(source, `u${flags}`);
  } catch (error) {
    throw invalid(`error parsing regexp: ${messageOf(error)}`);
  }
  throw invalid(`regexp ${JSON.stringify(pattern.slice(0, 64))} has too many repetitions or alternatives`);
}

// Every record carries them, in whatever form.
const LONGEST_ATTRIBUTES = 16 * 1024;

/** Attributes of which each line has a copy: throws invalid when that would be too much. */
export function bounded(attributes: Record<string, string>): Record<string, string> {
  if (Buffer.byteLength(goJson(attributes)) <= LONGEST_ATTRIBUTES) return attributes;
  throw invalid(`the log's labels, variables and tag have more than ${LONGEST_ATTRIBUTES} bytes`);
}

const LONGEST_TAG = 4096;

/** A client's template runs in the engine: one that repeats, or that builds on what it has built, could take for ever. */
function checkTag(template: string): void {
  const unbounded = /\{\{-?\s*(?:else\s+)?(range|with|template|define|block)\b|\$/.exec(template);
  if (unbounded) throw invalid(`log tag: ${unbounded[1] ?? "variables"} cannot be used in it`);
  if (template.length > LONGEST_TAG) throw invalid(`log tag: longer than ${LONGEST_TAG} characters`);
}

const SHORT_ID = 12;

/** The log option `tag`, a Go template on what docker's loggers know of a container. Throws invalid. */
export function logTag(record: ContainerRecord, otherwise: string): string {
  const template = record.host.LogConfig?.Config?.tag || otherwise;
  if (template === "") return "";
  checkTag(template);
  const { id, name, image, imageId, created, config } = record;
  const [entrypoint = "", ...args] = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  const shortImage = imageId.slice(0, SHORT_ID);
  try {
    return compileTemplate(template)({
      ID: id.slice(0, SHORT_ID),
      FullID: id,
      Name: name,
      ImageID: shortImage,
      ImageFullID: imageId,
      ImageName: image,
      DaemonName: "docker",
      Command: [entrypoint, ...args].join(" "),
      Hostname: hostname(),
      ContainerID: id,
      ContainerName: `/${name}`,
      ContainerEntrypoint: entrypoint,
      ContainerArgs: args,
      ContainerImageID: imageId,
      ContainerImageName: image,
      ContainerCreated: goTime(created),
      ContainerEnv: config.Env ?? [],
      ContainerLabels: config.Labels ?? {},
      Config: record.host.LogConfig?.Config ?? {},
    });
  } catch (error) {
    throw invalid(messageOf(error));
  }
}

/** As Go prints a time. */
function goTime(text: string): string {
  if (parseRfc3339(text) === undefined) return text;
  return text.replace(
    /^(.{10})T(.{8})(?:\.(\d*?)0*)?Z$/,
    (_, date, time, fraction) => `${date} ${time}${fraction ? `.${fraction}` : ""} +0000 UTC`,
  );
}
