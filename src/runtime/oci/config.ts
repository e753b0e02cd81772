import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync, type Stats } from "node:fs";
import { posix } from "node:path";
import { codeOf, invalid, messageOf } from "../../base/errors.ts";
import type { Hooks, Process, Spec } from "../../spec/oci-runtime.ts";
import { checkExecution } from "../execution.ts";
import { checkLabels } from "../labels.ts";
import { checkScheduling } from "../scheduling.ts";
import { checkNamespaces, checkNetDevices, checkSysctl } from "./check-namespaces.ts";
import { parseJson } from "./json.ts";
import { processSchema, specSchema } from "./schema.ts";
import { OCI_VERSION } from "./version.ts";

export interface Config {
  spec: Spec;
  rootfs: string;
}

const MAX_CONFIG = 16 << 20;
/** More would not fit into one program (elf.ts). */
const MAX_MOUNTS = 2000;
/** MAX_ARG_STRLEN (execve(2)), less the NUL. */
const MAX_ARG = 128 * 1024 - 1;

/** `config.json` of a bundle, checked, with relative paths made absolute. `warn` takes what the spec lets pass. */
export function loadConfig(bundle: string, warn: (message: string) => void): Config {
  return readConfig(readText(posix.join(bundle, "config.json"), bundle), bundle, warn);
}

/** Of a regular file alone: a FIFO or a device would hold us up, or never end. */
function readText(path: string, bundle: string): string {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    if (codeOf(error) === "ENOENT") throw invalid(`JSON specification file config.json not found in ${bundle}`);
    throw invalid(`config.json: ${messageOf(error)}`, error);
  }
  let source: Buffer;
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw invalid(`config.json: ${path} is not a regular file`);
    if (stat.size > MAX_CONFIG) throw invalid(`config.json: over ${MAX_CONFIG} bytes`);
    source = readFileSync(fd);
  } finally {
    closeSync(fd);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(source);
  } catch {
    throw invalid("config.json: not UTF-8");
  }
}

export function readConfig(source: string, bundle: string, warn: (message: string) => void): Config {
  if (source.length > MAX_CONFIG) throw invalid(`config.json: over ${MAX_CONFIG} bytes`);
  if (source.startsWith("\ufeff")) throw invalid("config.json: not valid JSON: it begins with a byte order mark");
  let spec: Spec;
  try {
    spec = parseJson(source) as Spec;
  } catch (error) {
    throw invalid(`config.json: not valid JSON: ${messageOf(error)}`);
  }
  specSchema(spec, "");
  checkVersion(spec.ociVersion);
  if (!spec.process) throw invalid("config.json: process: required");
  checkProcess(spec.process, "process");
  const count = spec.mounts?.length ?? 0;
  if (count > MAX_MOUNTS)
    throw invalid(`config.json: mounts: ${count} are too many, at most ${MAX_MOUNTS} are possible`);
  checkNamespaces(spec);
  if (spec.linux) checkExecution(spec.linux);
  checkSysctl(spec);
  checkNetDevices(spec);
  checkPropagation(spec.linux?.rootfsPropagation);
  for (const mount of spec.mounts ?? []) {
    if (!mount.destination.startsWith("/")) {
      warn(`mounts: destination ${mount.destination} is relative, taken as below /`);
      mount.destination = `/${mount.destination}`;
    }
    const bind = mount.type === "bind" || mount.options?.some((option) => option === "bind" || option === "rbind");
    if (bind && mount.source && !mount.source.startsWith("/")) mount.source = posix.join(bundle, mount.source);
  }
  return { spec, rootfs: checkRoot(spec, bundle) };
}

function checkVersion(version: string): void {
  const major = /^(\d+)\.(\d+)\.(\d+)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/.exec(version)?.[1];
  if (major === undefined) throw invalid(`config.json: ociVersion: ${JSON.stringify(version)} is no SemVer version`);
  if (major !== "1") throw invalid(`config.json: ociVersion: ${version} is not supported, 1.0.0 to ${OCI_VERSION} is`);
}

/** For a container's process, and for `exec --process`. */
export function readProcess(value: unknown): Process {
  processSchema(value, "process");
  const process = value as Process;
  checkProcess(process, "process");
  return process;
}

function checkProcess(process: Process, at: string): void {
  process.user ??= { uid: 0, gid: 0 };
  process.user.uid ??= 0;
  process.user.gid ??= 0;
  if (!process.args || process.args.length === 0) throw invalid(`config.json: ${at}.args: must not be empty`);
  if (process.args[0] === "") throw invalid(`config.json: ${at}.args[0]: must not be empty`);
  for (const [name, texts] of [["args", process.args] as const, ["env", process.env ?? []] as const]) {
    const long = texts.findIndex((text) => text.length > MAX_ARG || Buffer.byteLength(text) > MAX_ARG);
    if (long >= 0)
      throw invalid(`config.json: ${at}.${name}[${long}]: too long, execve takes at most ${MAX_ARG} bytes`);
  }
  const env = new Map<string, string>();
  for (const entry of process.env ?? []) {
    const equals = entry.indexOf("=");
    if (equals <= 0) throw invalid(`config.json: ${at}.env: ${JSON.stringify(entry)} is not NAME=VALUE`);
    env.set(entry.slice(0, equals), entry);
  }
  // The last of a name wins.
  process.env = [...env.values()];
  const types = (process.rlimits ?? []).map(({ type }) => type);
  const twice = types.find((type, i) => types.indexOf(type) !== i);
  if (twice) throw invalid(`config.json: ${at}.rlimits: ${twice} twice`);
  for (const { type, soft, hard } of process.rlimits ?? []) {
    if (soft > hard) throw invalid(`config.json: ${at}.rlimits: ${type}: soft ${soft} is over hard ${hard}`);
  }
  checkScheduling(process);
  checkLabels(process);
}

function checkPropagation(value: string | undefined): void {
  if (!value || /^r?(shared|slave|private|unbindable)$/.test(value)) return;
  throw invalid(`config.json: linux.rootfsPropagation: unknown ${JSON.stringify(value)}`);
}

function checkRoot(spec: Spec, bundle: string): string {
  const given = spec.root!.path;
  if (given === "") throw invalid("config.json: root.path: must not be empty");
  const path = posix.resolve(bundle, given);
  // What is made for mounts and devices would be made on the host.
  if (path === "/") throw invalid("config.json: root.path: / is the host's root");
  let stat: Stats | undefined;
  try {
    stat = lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw invalid(`config.json: root.path: ${messageOf(error)}`, error);
  }
  if (!stat) throw invalid(`config.json: root.path: ${path} does not exist`);
  // A link could be turned between this check and the launch.
  if (stat.isSymbolicLink()) throw invalid(`config.json: root.path: ${path} is a symbolic link`);
  if (!stat.isDirectory()) throw invalid(`config.json: root.path: ${path} is not a directory`);
  return path;
}

export const HOOK_KINDS = [
  "prestart",
  "createRuntime",
  "createContainer",
  "startContainer",
  "poststart",
  "poststop",
] as const satisfies readonly (keyof Hooks)[];
