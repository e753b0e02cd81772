import { createHash } from "node:crypto";
import { messageOf } from "../base/errors.ts";
import { say, workerMain } from "../worker/main.ts";
import { type Applied, type ApplyRequest, applyLayer } from "./apply.ts";
import { type Compressed, type CompressRequest, compressFile } from "./compress.ts";
import { readFileChunks } from "./compression.ts";
import { type CopyRequest, copyDirectory } from "./copy-directory.ts";
import { diskSize } from "./disk-size.ts";
import { syncFileSystem } from "./durable.ts";
import { type IndexRequest, indexLayer, type MergeRequest, mergeLayers } from "./erofs/index-layer.ts";
import { type LayerProblem, type VerifyRequest, verifyLayers } from "./erofs/verify.ts";
import { removeTrees } from "./remove-tree.ts";
import { dirSize } from "./tree-size.ts";

/**
 * The other side of apply-command.ts: `applyMain` is a hidden door of the program, which does one piece of work on
 * layers or other trees and ends. It has a process of its own since that is one long run of system calls, and hostile input.
 *
 *     engine  --argv: request as JSON-->   this process
 *     engine  <--messages of a worker--    {progress}…, then a result
 */
export type LayerWork =
  | { apply: ApplyRequest }
  | { index: IndexRequest }
  | { merge: MergeRequest }
  | { sync: string }
  | { remove: string; names: string[] }
  | { sizes: string[] }
  | { disk: (readonly string[])[] }
  | { verify: VerifyRequest }
  | { digests: readonly string[]; algorithm: string }
  | { copy: CopyRequest }
  | { compress: CompressRequest };

/** What it came to; nothing where the end says all. */
export type LayerResult =
  | { applied: Applied }
  | { sizes: number[] }
  | { problems: LayerProblem[] }
  | { digested: string[] }
  | { compressed: Compressed }
  | Record<string, never>;

export type LayerMessage = { progress: number } | LayerResult;

const PROGRESS_EVERY = 100;

/** `json` is a {@link LayerWork}. The result is the exit code. */
export function applyMain(json: string): Promise<number> {
  return workerMain(async () => {
    process.umask(0);
    say<LayerMessage>(await doWork(JSON.parse(json) as LayerWork));
  });
}

async function doWork(work: LayerWork): Promise<LayerResult> {
  if ("sync" in work) syncFileSystem(work.sync);
  else if ("remove" in work) removeTrees(work.remove, work.names);
  else if ("copy" in work) copyDirectory(work.copy);
  else if ("merge" in work) mergeLayers(work.merge);
  else return await resultOf(work);
  return {};
}

type Silent = { sync: string } | { remove: string } | { copy: CopyRequest } | { merge: MergeRequest };

async function resultOf(work: Exclude<LayerWork, Silent>): Promise<LayerResult> {
  if ("sizes" in work) {
    const sizes: number[] = [];
    for (const path of work.sizes) sizes.push(await dirSize(path));
    return { sizes };
  }
  if ("disk" in work) return { sizes: work.disk.map(diskSize) };
  if ("verify" in work) return { problems: await verifyLayers(work.verify) };
  if ("digests" in work) {
    const digested: string[] = [];
    for (const path of work.digests) digested.push(await digestOf(path, work.algorithm).catch(messageOf));
    return { digested };
  }
  if ("compress" in work) return { compressed: await compressFile(work.compress) };
  let last = 0;
  const onProgress = (progress: number) => {
    if (Date.now() - last < PROGRESS_EVERY) return;
    last = Date.now();
    say<LayerMessage>({ progress });
  };
  return { applied: await ("index" in work ? indexLayer(work.index, onProgress) : applyLayer(work.apply, onProgress)) };
}

async function digestOf(path: string, algorithm: string): Promise<string> {
  const hash = createHash(algorithm);
  for await (const chunk of readFileChunks(path)) hash.update(chunk);
  return `${algorithm}:${hash.digest("hex")}`;
}

// No top-level await: the single binary is compiled to bytecode, which has none.
if (import.meta.main) {
  applyMain(process.argv[2] ?? "").then((code) => {
    process.exitCode = code;
  });
}
