import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { basename, join, resolve } from "node:path";
import { codeOf } from "../../base/errors.ts";
import { IgnoreRules } from "../../base/ignore.ts";
import type { BuildContextSource } from "../../spec/build-stream.ts";
import { ExitError } from "../command.ts";
import { readStdin } from "../terminal.ts";

/** A directory of ours that a build may read. */
export interface LocalFiles {
  directory: string;
  rules: IgnoreRules;
}

export interface Sources {
  context: BuildContextSource | undefined;
  /** By the numbers of the listings. */
  files: LocalFiles[];
  /** Text of the Dockerfile; undefined: the engine takes it from the context. */
  dockerfile: string | undefined;
  dockerfileName: string;
  /** Of stdin, to be sent as it is. */
  tar?: AsyncIterable<Uint8Array>;
  contexts: Record<string, BuildContextSource>;
}

const MAX_DOCKERFILE = 4 << 20;

/** Finds out what is built from: `argument` is PATH, URL or `-`. */
export async function findSources(argument: string, file: string, named: readonly string[]): Promise<Sources> {
  const sources: Sources = {
    context: undefined,
    files: [],
    dockerfile: undefined,
    dockerfileName: basename(file || "Dockerfile"),
    contexts: {},
  };
  if (file === "-") {
    if (argument === "-")
      throw new ExitError(1, "invalid argument: can't use stdin for both build context and dockerfile");
    sources.dockerfile = (await wholeStdin()).toString();
    sources.dockerfileName = "Dockerfile";
  }
  if (argument === "-") await fromStdin(sources, file);
  else if (isRemote(argument)) {
    sources.context = isGit(argument) ? { git: argument } : { http: argument };
    if (file && file !== "-") sources.dockerfileName = file;
  } else {
    const directory = directoryOf(argument);
    let path: string | undefined;
    if (sources.dockerfile === undefined) {
      path = file ? resolve(file) : join(directory, "Dockerfile");
      sources.dockerfile = dockerfileAt(path, file || "Dockerfile");
      sources.dockerfileName = file || "Dockerfile";
    }
    sources.context = addFiles(sources, "context", directory, ignoreRules(directory, path));
  }
  for (const one of named) addNamed(sources, one);
  return sources;
}

async function fromStdin(sources: Sources, file: string): Promise<void> {
  const { head, whole } = await peeked(readStdin(false));
  if (isArchive(head)) {
    sources.tar = whole;
    sources.context = { tar: true };
    if (file) sources.dockerfileName = file;
    return;
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of whole) {
    size += chunk.length;
    if (size > MAX_DOCKERFILE) throw new ExitError(1, `the Dockerfile on stdin is larger than ${MAX_DOCKERFILE} bytes`);
    chunks.push(chunk);
  }
  if (size === 0) throw new ExitError(1, "failed to read from stdin: no Dockerfile and no build context");
  sources.dockerfile = Buffer.concat(chunks).toString();
  sources.dockerfileName = "Dockerfile";
}

function addNamed(sources: Sources, text: string): void {
  const at = text.indexOf("=");
  const name = text.slice(0, Math.max(at, 0));
  const value = text.slice(at + 1);
  if (at <= 0 || value === "") throw new ExitError(1, `invalid context value: ${text}, expected key=value`);
  if (value.startsWith("docker-image://")) sources.contexts[name] = { image: value.slice("docker-image://".length) };
  else if (value.startsWith("oci-layout://")) throw new ExitError(1, "build contexts of OCI layouts are not supported");
  else if (value.startsWith("target:")) throw new ExitError(1, "build contexts of other targets are for bake only");
  else if (isRemote(value)) sources.contexts[name] = isGit(value) ? { git: value } : { http: value };
  else {
    const directory = directoryOf(value);
    sources.contexts[name] = addFiles(sources, name, directory, ignoreRules(directory, undefined));
  }
}

function addFiles(sources: Sources, name: string, directory: string, rules: IgnoreRules): BuildContextSource {
  const number = sources.files.push({ directory, rules }) - 1;
  return { files: number, key: JSON.stringify([hostname(), realpathSync(directory), name]) };
}

function directoryOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) throw new ExitError(1, `unable to prepare context: path ${JSON.stringify(path)} not found`);
  if (!stat.isDirectory()) throw new ExitError(1, `unable to prepare context: ${path} is no directory`);
  return path;
}

function dockerfileAt(path: string, shown: string): string {
  try {
    const bytes = readFileSync(path);
    if (bytes.length > MAX_DOCKERFILE) throw new ExitError(1, `${shown} is larger than ${MAX_DOCKERFILE} bytes`);
    return bytes.toString();
  } catch (error) {
    if (codeOf(error) === "ENOENT") {
      throw new ExitError(1, `failed to read dockerfile: open ${shown}: no such file or directory`);
    }
    throw error;
  }
}

/** `<Dockerfile>.dockerignore` beside it, else the context's own. */
function ignoreRules(directory: string, dockerfile: string | undefined): IgnoreRules {
  const own = dockerfile && `${dockerfile}.dockerignore`;
  const path = own && existsSync(own) ? own : join(directory, ".dockerignore");
  try {
    return IgnoreRules.parse(readFileSync(path, "utf8"));
  } catch (error) {
    if (codeOf(error) === "ENOENT") return IgnoreRules.of([]);
    throw error;
  }
}

const isRemote = (text: string) =>
  /^(?:https?|git|ssh):\/\//i.test(text) || /^github\.com\//.test(text) || /^[\w.-]+@[\w.-]+:[^\s]+$/.test(text);
const isGit = (text: string) =>
  !/^https?:\/\//i.test(text) || /^https?:\/\/[^#?]+\.git(?:[#?].*)?$/i.test(text) || /#/.test(text);

/** A tar, or what may be one compressed. */
function isArchive(head: Buffer): boolean {
  const hex = head.toString("hex", 0, 6);
  return (
    /^(?:1f8b|425a68|fd377a585a00|28b52ffd)/.test(hex) ||
    (head.length >= 512 && head.toString("latin1", 257, 262) === "ustar")
  );
}

async function peeked(source: AsyncIterable<Uint8Array>): Promise<{ head: Buffer; whole: AsyncGenerator<Uint8Array> }> {
  const iterator = source[Symbol.asyncIterator]();
  let head: Buffer = Buffer.alloc(0);
  let done = false;
  while (head.length < 512 && !done) {
    const next = await iterator.next();
    if (next.done) done = true;
    else head = Buffer.concat([head, next.value]);
  }
  const whole = async function* () {
    if (head.length > 0) yield head;
    while (!done) {
      const next = await iterator.next();
      if (next.done) return;
      yield next.value;
    }
  };
  return { head, whole: whole() };
}

async function wholeStdin(): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readStdin(false)) chunks.push(chunk);
  return Buffer.concat(chunks);
}
