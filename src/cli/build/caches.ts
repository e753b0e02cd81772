import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { IgnoreRules } from "../../base/ignore.ts";
import { ExitError } from "../command.ts";
import { extractLocal } from "../cp/local.ts";
import { stderr } from "../output.ts";
import { fields } from "./options.ts";
import type { LocalFiles } from "./sources.ts";

/** `--cache-from` and `--cache-to` as the engine gets them, and the directories that are ours. */
export interface Caches {
  from: Record<string, string>[];
  to: Record<string, string>[];
  /** References at registries, for their credentials. */
  references: string[];
  /** Of `to`, by its index. */
  directories: ReadonlyMap<number, string>;
}

/** Directories of `from` are added to `files`. */
export async function cachesOf(from: readonly string[], to: readonly string[], files: LocalFiles[]): Promise<Caches> {
  const caches: Caches = { from: [], to: [], references: [], directories: new Map() };
  for (const text of from) {
    const words = wordsOf(text, "cache-from");
    if (words.type !== "local") {
      caches.from.push(words);
      continue;
    }
    const { src, ...rest } = words;
    if (!src) throw new ExitError(1, "--cache-from: type=local needs src=DIRECTORY");
    if (!statSync(src, { throwIfNoEntry: false })?.isDirectory()) {
      // The first build of a machine has none.
      await stderr.line(`WARNING: cache ${src} is not used: there is no such directory`);
      continue;
    }
    const number = files.push({ directory: src, rules: IgnoreRules.of([]) }) - 1;
    caches.from.push({ ...rest, files: String(number) });
  }
  const directories = new Map<number, string>();
  for (const text of to) {
    const words = wordsOf(text, "cache-to");
    if (words.type !== "local") {
      caches.to.push(words);
      continue;
    }
    const { dest, ...rest } = words;
    if (!dest) throw new ExitError(1, "--cache-to: type=local needs dest=DIRECTORY");
    directories.set(caches.to.push(rest) - 1, dest);
  }
  const references = [...caches.from, ...caches.to].flatMap(({ ref }) => ref ?? []);
  return { ...caches, references, directories };
}

function wordsOf(text: string, flag: string): Record<string, string> {
  if (text === "inline") return { type: "inline" };
  if (!text.includes("=")) return { type: "registry", ref: text };
  return { type: "registry", ...Object.fromEntries(fields(text, flag)) };
}

const REF_NAME = "org.opencontainers.image.ref.name";

interface Layout {
  manifests: { digest: string; annotations?: Record<string, string> }[];
}

/**
 * Puts the cache that comes as the tar of an OCI layout into `directory`, beside those of other tags that are there; the
 * blobs that only its predecessor had are removed.
 */
export async function takeCache(directory: string, tar: AsyncIterable<Uint8Array>): Promise<void> {
  mkdirSync(directory, { recursive: true });
  const index = join(directory, "index.json");
  const before = layoutAt(index);
  const arriving = join(directory, `.inro-${hostname()}-${process.pid}`);
  const warn = (text: string) => void stderr.line(`WARNING: ${text}`);
  try {
    mkdirSync(arriving);
    await extractLocal(tar, arriving, { keepOwners: false, warn, count: () => {} });
    const { manifests: now } = layoutAt(join(arriving, "index.json"));
    mkdirSync(join(directory, "blobs/sha256"), { recursive: true });
    const fresh = new Set(now.flatMap(({ digest }) => blobsOf(arriving, digest)));
    for (const digest of fresh) renameSync(blobAt(arriving, digest), blobAt(directory, digest));
    renameSync(join(arriving, "oci-layout"), join(directory, "oci-layout"));
    const tags = new Set(now.map(({ annotations }) => annotations?.[REF_NAME]));
    const replaced = before.manifests.filter(({ annotations }) => tags.has(annotations?.[REF_NAME]));
    const kept = before.manifests.filter((one) => !replaced.includes(one));
    const whole = { schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", ...before };
    writeFileSync(join(arriving, "index.json"), JSON.stringify({ ...whole, manifests: [...kept, ...now] }));
    const old = new Set(replaced.flatMap(({ digest }) => blobsOf(directory, digest)));
    renameSync(join(arriving, "index.json"), index);
    const used = new Set([...fresh, ...kept.flatMap(({ digest }) => blobsOf(directory, digest))]);
    for (const digest of old) if (!used.has(digest)) rmSync(blobAt(directory, digest), { force: true });
  } finally {
    rmSync(arriving, { recursive: true, force: true });
  }
}

function layoutAt(path: string): Layout {
  if (!existsSync(path)) return { manifests: [] };
  let layout: Partial<Layout>;
  try {
    layout = Object(JSON.parse(readFileSync(path, "utf8")));
  } catch {
    throw new ExitError(1, `${path} is no index of an OCI layout: give the cache a directory of its own`);
  }
  const { manifests } = layout;
  if (!Array.isArray(manifests) || manifests.some((one) => typeof one?.digest !== "string"))
    throw new ExitError(1, `${path} is no index of an OCI layout: give the cache a directory of its own`);
  return { ...layout, manifests };
}

/** A manifest of this directory and what it names, as far as that can be read: what cannot is left alone. */
function blobsOf(directory: string, digest: string): string[] {
  try {
    const manifest = JSON.parse(readFileSync(blobAt(directory, digest), "utf8"));
    const inner = [manifest.config, ...manifest.layers].map((one: { digest: string }) => one.digest);
    return [digest, ...inner].filter((one) => /^sha256:[0-9a-f]{64}$/.test(one));
  } catch {
    return [];
  }
}

function blobAt(directory: string, digest: string): string {
  if (!/^sha256:[0-9a-f]{64}$/.test(digest)) throw new ExitError(1, `invalid digest ${digest.slice(0, 100)}`);
  return join(directory, "blobs", digest.replace(":", "/"));
}
