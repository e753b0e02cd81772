import { invalid } from "../../base/errors.ts";
import type { HostConfig } from "../../spec/docker-api.ts";

export type LogConfig = { Type: string; Config: Record<string, string> };

/** What the loggers' own checks are told as, in docker when the container starts. */
const FAILED = "failed to initialize logging driver: ";

const ATTRIBUTES = ["labels", "labels-regex", "env", "env-regex", "tag"];
const FILES = ["max-size", "max-file", "compress"];
const SYSLOG = ["address", "facility", "format", "tls-ca-cert", "tls-cert", "tls-key", "tls-skip-verify"];

/** The drivers that there are, with their own options. */
const DRIVERS: Readonly<Record<string, readonly string[]>> = {
  "json-file": [...FILES, ...ATTRIBUTES],
  local: [...FILES, ...ATTRIBUTES],
  journald: ATTRIBUTES,
  syslog: [...SYSLOG.map((name) => `syslog-${name}`), ...ATTRIBUTES],
  none: [],
};

/** Known to every driver. The cache is what is read back of a log that is kept elsewhere. */
const COMMON = ["mode", "max-buffer-size", "cache-disabled", ...FILES.map((name) => `cache-${name}`)];

export const LOG_DRIVERS: readonly string[] = Object.keys(DRIVERS);

/** What `serve --log-driver` and `--log-opt` say; json-file by default. */
export const DEFAULT_LOG: LogConfig = { Type: "json-file", Config: {} };

/**
 * LogConfig as it is stored: the engine's driver where none is given, and the engine's options where the driver is the
 * same. Throws invalid, in docker's words; `check` is the driver's own part.
 */
export function completeLogConfig(given: NonNullable<HostConfig["LogConfig"]>, engine: LogConfig): LogConfig {
  const Type = given.Type || engine.Type;
  const Config = { ...(Type === engine.Type ? engine.Config : {}), ...given.Config };
  checkLogConfig({ Type, Config });
  return { Type, Config };
}

function checkLogConfig({ Type: type, Config: options }: LogConfig): void {
  // Docker looks no further either.
  if (type === "none") return;
  const { mode = "", "max-buffer-size": buffer, "cache-disabled": uncached } = options;
  if (!["", "blocking", "non-blocking"].includes(mode)) {
    throw invalid(`logger: logging mode not supported: ${mode.slice(0, 64)}`);
  }
  if (buffer !== undefined) {
    if (mode !== "non-blocking") {
      throw invalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'");
    }
    if (sizeOf(buffer, 1024) === undefined) throw invalid(`error parsing option max-buffer-size: ${notSize(buffer)}`);
  }
  if (uncached && parseBool(uncached) === undefined) {
    throw invalid(`invalid value for option cache-disabled: ${uncached.slice(0, 64)}`);
  }
  const known = Object.hasOwn(DRIVERS, type) ? DRIVERS[type]! : undefined;
  if (!known) throw invalid(`logger: no log driver named '${type.slice(0, 64)}' is registered`);
  for (const name of Object.keys(options)) {
    if (known.includes(name) || COMMON.includes(name)) continue;
    const driver = type === "local" ? "log driver local" : `${type} log driver`;
    throw invalid(`unknown log opt '${name.slice(0, 64)}' for ${driver}`);
  }
  if (type === "json-file") checkJsonFile(options);
  if (type === "local") checkLocal(options);
  else checkLocal(cacheOptions(options));
}

function checkJsonFile({ "max-size": size, "max-file": files, compress }: Record<string, string>): void {
  if (size !== undefined && size !== UNLIMITED) {
    const bytes = sizeOf(size, 1000);
    if (bytes === undefined) throw invalid(`${FAILED}${notSize(size)}`);
    if (bytes < 1) throw invalid(`${FAILED}max-size must be a positive number`);
  }
  if (files !== undefined) {
    if (!/^[+-]?\d{1,9}$/.test(files)) throw invalid(`${FAILED}${notParsed("Atoi", files)}`);
    if (Number(files) < 1) throw invalid(`${FAILED}max-file cannot be less than 1`);
  }
  if (compress === undefined) return;
  const wanted = parseBool(compress);
  if (wanted === undefined) throw invalid(`${FAILED}${notParsed("ParseBool", compress)}`);
  const { maxFiles, maxSize } = jsonFileLimits({ "max-size": size, "max-file": files });
  if (wanted && (maxFiles < 2 || maxSize === Number.POSITIVE_INFINITY)) {
    throw invalid(`${FAILED}compress cannot be true when max-file is less than 2 or max-size is not set`);
  }
}

function checkLocal({ "max-size": size, "max-file": files, compress }: Record<string, string>): void {
  if (size !== undefined && size !== UNLIMITED && sizeOf(size, 1000) === undefined) {
    throw invalid(`${FAILED}invalid value for max-size: ${size.slice(0, 64)}: ${notSize(size)}`);
  }
  if (files !== undefined) {
    if (!/^[+-]?\d{1,9}$/.test(files)) {
      throw invalid(`${FAILED}invalid value for max-file: ${files.slice(0, 64)}: ${notParsed("Atoi", files)}`);
    }
    if (Number(files) < 0) throw invalid(`${FAILED}max-file must not be negative`);
  }
  const wanted = compress === undefined ? true : parseBool(compress);
  if (wanted === undefined) {
    throw invalid(`${FAILED}invalid boolean value for compress: ${notParsed("ParseBool", compress!)}`);
  }
  if (wanted && files !== undefined && Number(files) <= 1) {
    throw invalid(`${FAILED}compression cannot be enabled when max file count is 1`);
  }
}

/** Docker's word for a log that is never rotated, where that is not the default. */
const UNLIMITED = "-1";

export interface LogLimits {
  /** Bytes after which a file is rotated; Infinity for never. */
  maxSize: number;
  /** Files kept, the current one included. */
  maxFiles: number;
  /** Whether rotated files are compressed. */
  compress: boolean;
}

type FileOptions = Record<string, string | undefined>;

/**
 * Of the json-file driver. Unlike docker's, which has no limit by default: a container that babbles must not fill the disk.
 */
export function jsonFileLimits(options: FileOptions): LogLimits {
  const { "max-size": size, "max-file": files, compress } = options;
  return {
    maxSize: size === undefined ? 20_000_000 : bytesOf(size),
    // With a size alone docker keeps one file.
    maxFiles: files === undefined ? (size === undefined ? 5 : 1) : Number(files),
    compress: parseBool(compress ?? "false") === true,
  };
}

/** Of the driver local; docker's defaults. */
export function localLimits(options: FileOptions): LogLimits {
  const { "max-size": size, "max-file": files, compress } = options;
  return {
    maxSize: size === undefined ? 20 * 1024 * 1024 : bytesOf(size),
    maxFiles: Math.max(1, files === undefined ? 5 : Number(files)),
    compress: parseBool(compress ?? "true") === true,
  };
}

/** The options `cache-max-size` and so on, as those of the driver local that keeps the cache. */
export function cacheOptions(options: Record<string, string>): Record<string, string> {
  const found = FILES.filter((name) => options[`cache-${name}`] !== undefined);
  return Object.fromEntries(found.map((name) => [name, options[`cache-${name}`]!]));
}

/** Whether what goes elsewhere is kept here too, to be read back. */
export function isCached(options: Record<string, string>): boolean {
  return parseBool(options["cache-disabled"] || "false") === false;
}

/** Bytes that may wait with mode non-blocking; undefined with mode blocking. */
export function bufferSize(options: Record<string, string>): number | undefined {
  if (options.mode !== "non-blocking") return undefined;
  const size = options["max-buffer-size"];
  return size === undefined ? 1_000_000 : sizeOf(size, 1024);
}

const bytesOf = (size: string) =>
  size === UNLIMITED ? Number.POSITIVE_INFINITY : Math.max(1, sizeOf(size, 1000) ?? Number.POSITIVE_INFINITY);

/** A size in docker's notation (`10m`, `1.5 GB`) with multiples of `base`; undefined when it is none. */
function sizeOf(text: string, base: number): number | undefined {
  const [, number, unit = ""] = /^(\d{1,15}(?:\.\d{1,9})?) ?(?:([kmgtp])i?b?|b)?$/i.exec(text) ?? [];
  if (number === undefined) return undefined;
  return Math.floor(Number(number) * base ** " kmgtp".indexOf(unit.toLowerCase() || " "));
}

/** Go's strconv.ParseBool. */
function parseBool(text: string): boolean | undefined {
  if (["1", "t", "T", "TRUE", "true", "True"].includes(text)) return true;
  return ["0", "f", "F", "FALSE", "false", "False"].includes(text) ? false : undefined;
}

const notSize = (text: string) => `invalid size: '${text.slice(0, 64)}'`;
const notParsed = (how: string, text: string) =>
  `strconv.${how}: parsing ${JSON.stringify(text.slice(0, 64))}: invalid syntax`;
