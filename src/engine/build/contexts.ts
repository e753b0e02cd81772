import { createHash, randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join, posix } from "node:path";
import { unpackInChild } from "../../archive/command.ts";
import { codeOf, invalid } from "../../base/errors.ts";
import type { OpenContext } from "../../build/roots.ts";
import { sizesInChild } from "../../layers/apply-command.ts";
import { removeTree } from "../../layers/remove-tree.ts";
import * as k from "../../linux/constants.ts";
import { close, openat, openat2 } from "../../linux/file.ts";
import type { Trash } from "../trash.ts";
import type { CacheEntry } from "./usage.ts";

const MAX_ENTRIES = 4_000_000;
const MAX_PATH = 4096;
/** Fewer removals than this are done one by one; more, and the directory is filled anew. */
const MOST_REMOVED = 2000;

type Stamps = Map<string, string>;

interface Index {
  identity: string;
  entries: [path: string, stamp: string][];
}

/**
 * Build contexts as their clients have them: directories of the engine's own that are brought up to date with what has
 * changed since the last build.
 *
 *     <dir>/<key>/files         the files
 *     <dir>/<key>/used          empty; its time is that of the last build
 *     <dir>/<key>/index.json    their stamps; absent while files are changed, so that a killed engine starts afresh
 *     <dir>/tmp-*               contexts of one build; the next engine removes them
 */
export class Contexts {
  readonly #busy = new Set<string>();

  constructor(
    private readonly directory: string,
    private readonly trash: Pick<Trash, "discard">,
    temporary: string,
  ) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(directory)) {
      if (name.startsWith("tmp-")) leftToReconcile(join(directory, name), temporary);
    }
  }

  /** A tar of any compression, for one build. */
  async unpack(tar: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<OpenContext> {
    const path = this.#temporary();
    try {
      await unpackInto(path, tar, signal);
    } catch (error) {
      this.trash.discard(path);
      throw error;
    }
    return { source: { kind: "directory", path }, release: () => this.trash.discard(path) };
  }

  /**
   * The files of a client as `listing` says; `fetch` answers a tar of the entries of these numbers. `key` names what is
   * likely to be the same files at the next build; while another build uses it, this one gets a directory of its own.
   */
  async sync(
    key: string,
    listing: string,
    fetch: (entries: number[]) => AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<OpenContext> {
    const hex = createHash("sha256").update(key).digest("hex");
    const identity = `sha256:${createHash("sha256").update(listing).digest("hex")}`;
    if (this.#busy.has(hex)) {
      const entries = parseListing(listing);
      const open = await this.unpack(fetch([...entries.keys()]), signal);
      return { ...open, identity };
    }
    this.#busy.add(hex);
    const home = join(this.directory, hex);
    const open = { source: { kind: "directory", path: join(home, "files") }, identity } as const;
    try {
      const index = readIndex(home);
      if (index?.identity === identity) utimesSync(join(home, "used"), new Date(), new Date());
      else await this.#update(home, index, parseListing(listing), identity, fetch, signal);
    } catch (error) {
      this.#busy.delete(hex);
      throw error;
    }
    return { ...open, release: () => void this.#busy.delete(hex) };
  }

  async #update(
    home: string,
    index: Index | undefined,
    entries: Index["entries"],
    identity: string,
    fetch: (entries: number[]) => AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    const before: Stamps = new Map(index?.entries ?? []);
    const now: Stamps = new Map(entries);
    const gone = [...before.keys()].filter(
      (path) => !now.has(path) || kind(now.get(path)!) !== kind(before.get(path)!),
    );
    const files = join(home, "files");
    rmSync(join(home, "index.json"), { force: true });
    if (!index || gone.length > MOST_REMOVED) {
      this.trash.discard(home);
      before.clear();
      mkdirSync(files, { recursive: true, mode: 0o700 });
    } else remove(files, gone);
    const changed = entries.flatMap(([path, stamp], at) => (before.get(path) === stamp ? [] : [at]));
    if (changed.length > 0) await unpackInto(files, fetch(changed), signal);
    writeFileSync(join(home, "used"), "", { mode: 0o600 });
    const temporary = join(home, "index.tmp");
    writeFileSync(temporary, JSON.stringify({ identity, entries } satisfies Index), { mode: 0o600 });
    renameSync(temporary, join(home, "index.json"));
  }

  /** The directories that are kept, with their sizes. */
  async entries(): Promise<CacheEntry[]> {
    const kept = readdirSync(this.directory).filter((name) => /^[0-9a-f]{64}$/.test(name));
    const sizes = await sizesInChild(kept.map((name) => join(this.directory, name)));
    return kept.flatMap((name, at) => {
      const stat = statSync(join(this.directory, name, "used"), { throwIfNoEntry: false });
      const used = stat?.mtimeMs ?? 0;
      const time = new Date(used).toISOString();
      return {
        used,
        remove: () => {
          if (!this.#busy.has(name)) this.trash.discard(join(this.directory, name));
        },
        item: {
          ID: name.slice(0, 25),
          Type: "source.local" as const,
          Description: "local source for context",
          InUse: this.#busy.has(name),
          Shared: false,
          Size: sizes[at] ?? 0,
          CreatedAt: time,
          LastUsedAt: time,
          UsageCount: 1,
        },
      };
    });
  }

  #temporary(): string {
    const path = join(this.directory, `tmp-${randomBytes(8).toString("hex")}`);
    mkdirSync(path, { mode: 0o700 });
    return path;
  }
}

/** What an earlier engine has left goes with its other temporary files. */
export function leftToReconcile(path: string, temporary: string): void {
  if (existsSync(path)) renameSync(path, join(temporary, `build-${randomBytes(8).toString("hex")}`));
}

const kind = (stamp: string) => stamp[0];

async function unpackInto(path: string, tar: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
  const directory = openat(k.AT_FDCWD, path, k.O_RDONLY | k.O_DIRECTORY);
  try {
    await unpackInChild(directory, tar, signal);
  } finally {
    close(directory);
  }
}

/** Paths of a listing, which is the client's word. */
function remove(files: string, paths: readonly string[]): void {
  const root = openat(k.AT_FDCWD, files, k.O_PATH | k.O_DIRECTORY);
  try {
    for (const path of paths) {
      let parent: number;
      try {
        const flags = k.O_RDONLY | k.O_DIRECTORY | k.O_NOFOLLOW;
        parent = openat2(root, posix.dirname(path), flags, 0, k.RESOLVE_BENEATH | k.RESOLVE_NO_SYMLINKS);
      } catch (error) {
        // With its directory, which was removed before.
        if (["ENOENT", "ENOTDIR", "ELOOP"].includes(codeOf(error) ?? "")) continue;
        throw error;
      }
      try {
        removeTree(parent, posix.basename(path));
      } finally {
        close(parent);
      }
    }
  } finally {
    close(root);
  }
}

function readIndex(home: string): Index | undefined {
  try {
    return JSON.parse(readFileSync(join(home, "index.json"), "utf8")) as Index;
  } catch {
    return undefined;
  }
}

/** Paths and stamps of a client's files, as it lists them. Errors are invalid. */
export function parseListing(text: string): Index["entries"] {
  const bad = () => invalid("the listing of the build context is not what it should be");
  let entries: unknown;
  try {
    entries = JSON.parse(text);
  } catch {
    throw bad();
  }
  if (!Array.isArray(entries) || entries.length > MAX_ENTRIES) throw bad();
  for (const entry of entries) {
    if (!Array.isArray(entry) || typeof entry[0] !== "string" || typeof entry[1] !== "string") throw bad();
    const [path] = entry as [string, string];
    if (path.length > MAX_PATH || path.includes("\0")) throw bad();
    if (path.split("/").some((part) => part === "" || part === "." || part === "..")) throw bad();
  }
  return entries as Index["entries"];
}
