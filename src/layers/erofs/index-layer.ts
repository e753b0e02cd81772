import { createHash, type Hash } from "node:crypto";
import {
  closeSync,
  fdatasyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { chainId, parseDigest } from "../../base/digest.ts";
import { codeOf, invalid } from "../../base/errors.ts";
import { releaseFilled } from "../../base/release.ts";
import { streamed } from "../../base/streamed.ts";
import { writeAll } from "../../linux/file.ts";
import type { Applied } from "../apply.ts";
import { type Compression, decompress, readFileChunks } from "../compression.ts";
import { readGrowing } from "../growing.ts";
import { TarParser } from "../tar-read.ts";
import { encodeImage } from "./image.ts";
import { mergeTrees } from "./tree.ts";
import { TreeBuilder } from "./tree-builder.ts";
import { decodeTree, encodeTree } from "./tree-file.ts";

/** What a layer's directory holds. */
export const TAR = "layer.tar";
export const TREE = "tree";
/** Of the layer and all below it; not there while nobody has needed it. */
export const INDEX = "index";

/** Plain data, since it goes to another process. */
export interface IndexRequest {
  /** The layer blob: a file, which nobody ever writes to. */
  source: string;
  /** The source still grows, to this many bytes; stdin says when. It is compressed. */
  growing?: number | undefined;
  /** An existing empty directory. */
  target: string;
  /** The source is known to have this digest, a sha256; one that grows must have it in the end. */
  digest?: string | undefined;
  /** Makes the image's index as well; the layers below, base first. */
  below?: { directory: string; chains: readonly string[] } | undefined;
}

/**
 * Keeps one layer as its uncompressed tar and its tree, in one pass over the blob. One that is not compressed is linked.
 * `onProgress` hears of the bytes taken from the blob, in all. On an error `target` is left half filled.
 */
export async function indexLayer(
  { source, growing, target, digest, below }: IndexRequest,
  onProgress?: (bytes: number) => void,
): Promise<Applied> {
  const parser = new TarParser();
  const builder = new TreeBuilder();
  const hash = createHash("sha256");
  const received = growing === undefined ? undefined : createHash("sha256");
  const tar = join(target, TAR);
  let taken = 0;
  let file: number | undefined;
  let linked = false;
  try {
    const count = (bytes: number) => {
      taken += bytes;
      streamed(bytes);
      onProgress?.(taken);
    };
    const begin = (compression: Compression) => {
      // What still grows may yet be thrown away, and written anew.
      if (growing !== undefined && compression === "none") throw invalid(`read ${source}: it is not compressed`);
      linked = compression === "none" && tryLink(source, tar);
      if (!linked) file = openSync(tar, "wx", 0o600);
    };
    const chunks =
      growing === undefined ? readFileChunks(source) : tee(readGrowing(source, growing, process.stdin), received!);
    for await (const chunk of decompress(chunks, count, begin)) {
      if (!linked) writeAll(file!, chunk);
      if (!linked || digest === undefined) hash.update(chunk);
      for (const event of parser.push(chunk)) if ("entry" in event) builder.entry(event.entry);
      releaseFilled(chunk);
    }
    parser.end();
    // Its writer may have begun anew, with other bytes than those that were read here.
    const found = received && `sha256:${received.digest("hex")}`;
    if (found !== undefined && found !== digest) throw invalid(`read ${source}: its digest is ${found}, not ${digest}`);
  } finally {
    if (file !== undefined) closeSync(file);
  }
  writeFileSync(join(target, TREE), encodeTree(builder.root), { mode: 0o600 });
  const diffId = linked && digest !== undefined ? digest : `sha256:${hash.digest("hex")}`;
  if (below) {
    const lowers = below.chains.map((chain) => join(below.directory, parseDigest(chain).hex));
    // A layer that is not synced yet is not taken for a good one after a power cut: its index neither.
    writeIndex([...lowers, target], parseDigest(chainId([...below.chains.slice(-1), diffId])).hex, false);
  }
  return { diffId, size: builder.size };
}

async function* tee(chunks: AsyncIterable<Uint8Array>, hash: Hash): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
}

/** Makes the layer of one directory that of another as well; false where that cannot be. */
export function linkLayer(from: string, to: string): boolean {
  return tryLink(join(from, TAR), join(to, TAR)) && tryLink(join(from, TREE), join(to, TREE));
}

/** False where the blob is on another file system. */
function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (["EXDEV", "EMLINK", "EPERM"].includes(codeOf(error) ?? "")) return false;
    throw error;
  }
}

export interface MergeRequest {
  directory: string;
  /** The layers in it, base first. */
  layers: readonly string[];
}

/** Makes the index of an image in the directory of its uppermost layer. */
export function mergeLayers({ directory, layers }: MergeRequest): void {
  writeIndex(
    layers.map((layer) => join(directory, layer)),
    layers.at(-1)!,
  );
}

/** `layers`: directories, base first; the uppermost, of this name, gets the index. */
function writeIndex(layers: readonly string[], name: string, sync = true): void {
  const image = encodeMerged(layers, name);
  const path = join(layers.at(-1)!, INDEX);
  const file = openSync(`${path}.new`, "w", 0o600);
  try {
    writeAll(file, image);
    // Nobody looks again whether a power cut left all of it.
    if (sync) fdatasyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(`${path}.new`, path);
}

export function encodeMerged(layers: readonly string[], name: string): Buffer {
  const trees = layers.map((layer) => decodeTree(readFileSync(join(layer, TREE), "utf8")));
  const sizes = layers.map((layer) => statSync(join(layer, TAR)).size);
  // The same layers are the same file system to overlayfs, whenever they are mounted.
  const uuid = createHash("sha256").update(name).digest();
  return encodeImage(mergeTrees(trees), sizes, uuid);
}
