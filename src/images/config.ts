import { isDigest } from "../base/digest.ts";
import { invalid } from "../base/errors.ts";
import type { ImageConfig } from "../spec/oci-image.ts";

export const MAX_CONFIG = 4 * 1024 * 1024;
const MAX_LAYERS = 500;
const MAX_ITEMS = 10_000;

type Fields = Record<string, unknown>;
type ContainerDefaults = NonNullable<ImageConfig["config"]>;

/**
 * Reads an image configuration (image-spec config.md and Docker's additions) and checks the type of every field that
 * inro knows; others are left out, `null` counts as absent. No text holds a NUL. Errors are invalid and name the field.
 */
export function parseImageConfig(bytes: Uint8Array | string): ImageConfig {
  if (bytes.length > MAX_CONFIG) throw invalid(`invalid image config: larger than ${MAX_CONFIG} bytes`);
  let value: unknown;
  try {
    const text = typeof bytes === "string" ? bytes : new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    value = JSON.parse(text);
  } catch (error) {
    throw invalid("invalid image config: not JSON", error);
  }
  const from = object(value, "the document");
  const rootfs = object(from.rootfs, "rootfs");
  if (rootfs.type !== "layers") throw invalid('invalid image config: rootfs.type is not "layers"');
  const diffIds = strings(rootfs.diff_ids ?? [], "rootfs.diff_ids");
  if (diffIds.length > MAX_LAYERS) throw invalid(`invalid image config: more than ${MAX_LAYERS} layers`);
  for (const diffId of diffIds)
    if (!isDigest(diffId)) throw invalid("invalid image config: rootfs.diff_ids: not a digest");
  return compact<ImageConfig>({
    architecture: name(from.architecture, "architecture"),
    os: name(from.os, "os"),
    variant: optional(from.variant, "variant", (v, where) => (v === "" ? undefined : name(v, where))),
    created: optional(from.created, "created", date),
    author: optional(from.author, "author", string),
    config: optional(from.config, "config", containerDefaults),
    rootfs: { type: "layers", diff_ids: diffIds },
    history: optional(from.history, "history", history),
  });
}

function containerDefaults(value: unknown, where: string): ContainerDefaults {
  const from = object(value, where);
  return compact<ContainerDefaults>({
    User: optional(from.User, "config.User", string),
    ExposedPorts: optional(from.ExposedPorts, "config.ExposedPorts", ports),
    Env: optional(from.Env, "config.Env", strings),
    Entrypoint: optional(from.Entrypoint, "config.Entrypoint", command),
    Cmd: optional(from.Cmd, "config.Cmd", command),
    Volumes: optional(from.Volumes, "config.Volumes", set),
    WorkingDir: optional(from.WorkingDir, "config.WorkingDir", string),
    Labels: optional(from.Labels, "config.Labels", stringMap),
    StopSignal: optional(from.StopSignal, "config.StopSignal", string),
    Shell: optional(from.Shell, "config.Shell", strings),
    OnBuild: optional(from.OnBuild, "config.OnBuild", strings),
    Healthcheck: optional(from.Healthcheck, "config.Healthcheck", healthcheck),
  });
}

function healthcheck(value: unknown, where: string): object {
  const from = object(value, where);
  return compact<object>({
    Test: optional(from.Test, `${where}.Test`, strings),
    Interval: optional(from.Interval, `${where}.Interval`, integer),
    Timeout: optional(from.Timeout, `${where}.Timeout`, integer),
    StartPeriod: optional(from.StartPeriod, `${where}.StartPeriod`, integer),
    StartInterval: optional(from.StartInterval, `${where}.StartInterval`, integer),
    Retries: optional(from.Retries, `${where}.Retries`, integer),
  });
}

function history(value: unknown, where: string): NonNullable<ImageConfig["history"]> {
  return list(value, where).map((entry) => {
    const from = object(entry, where);
    return compact<NonNullable<ImageConfig["history"]>[number]>({
      created: optional(from.created, `${where}.created`, date),
      created_by: optional(from.created_by, `${where}.created_by`, string),
      author: optional(from.author, `${where}.author`, string),
      comment: optional(from.comment, `${where}.comment`, string),
      empty_layer: optional(from.empty_layer, `${where}.empty_layer`, boolean),
    });
  });
}

function optional<T>(value: unknown, where: string, read: (value: unknown, where: string) => T): T | undefined {
  return value === undefined || value === null ? undefined : read(value, where);
}

/** Without the fields that are undefined. */
function compact<T extends object>(fields: { [K in keyof T]: T[K] | undefined } | Fields): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}

function wrong(where: string, expected: string): Error {
  return invalid(`invalid image config: ${where} is not ${expected}`);
}

function object(value: unknown, where: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(where, "an object");
  return value as Fields;
}

function list(value: unknown, where: string): unknown[] {
  if (!Array.isArray(value)) throw wrong(where, "a list");
  if (value.length > MAX_ITEMS) throw wrong(where, `a list of at most ${MAX_ITEMS} items`);
  return value;
}

function string(value: unknown, where: string): string {
  if (typeof value !== "string") throw wrong(where, "a text");
  if (value.includes("\0")) throw wrong(where, "free of NUL");
  return value;
}

function strings(value: unknown, where: string): string[] {
  return list(value, where).map((item) => string(item, where));
}

/** Docker takes a single text for a list of one. */
function command(value: unknown, where: string): string[] {
  return typeof value === "string" ? [string(value, where)] : strings(value, where);
}

function name(value: unknown, where: string): string {
  const text = string(value, where);
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(text)) throw wrong(where, "a name");
  return text;
}

function date(value: unknown, where: string): string {
  const text = string(value, where);
  if (
    !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,12})?(?:Z|[+-]\d\d:\d\d)$/.test(text) ||
    Number.isNaN(Date.parse(text))
  ) {
    throw wrong(where, "an RFC 3339 time");
  }
  return text;
}

function boolean(value: unknown, where: string): boolean {
  if (typeof value !== "boolean") throw wrong(where, "true or false");
  return value;
}

function integer(value: unknown, where: string): number {
  if (!Number.isSafeInteger(value)) throw wrong(where, "an integer");
  return value as number;
}

function stringMap(value: unknown, where: string): Record<string, string> {
  const entries = list(Object.entries(object(value, where)), where) as [string, unknown][];
  return Object.fromEntries(entries.map(([key, item]) => [string(key, where), string(item, where)]));
}

function set(value: unknown, where: string): Record<string, object> {
  const keys = list(Object.keys(object(value, where)), where);
  return Object.fromEntries(keys.map((key) => [string(key, where), {}]));
}

function ports(value: unknown, where: string): Record<string, object> {
  const result = set(value, where);
  for (const port of Object.keys(result)) {
    if (!/^\d{1,5}(?:-\d{1,5})?(?:\/(?:tcp|udp|sctp))?$/i.test(port)) throw wrong(where, "a set of port/protocol");
  }
  return result;
}
