import { join } from "node:path";
import { InroError } from "../base/errors.ts";
import { doorCommand } from "../worker/door.ts";
import { startWorker } from "../worker/start.ts";
import type { Applied, ApplyRequest } from "./apply.ts";
import type { LayerMessage, LayerResult, LayerWork } from "./apply-process.ts";
import type { Compressed, CompressRequest } from "./compress.ts";
import type { CopyRequest } from "./copy-directory.ts";
import { APPLY_DOOR } from "./door.ts";
import type { IndexRequest, MergeRequest } from "./erofs/index-layer.ts";
import type { LayerProblem, VerifyRequest } from "./erofs/verify.ts";
import type { GrowingFile } from "./growing.ts";

/**
 * Runs applyLayer in a child of the same program. `onProgress` hears of the bytes taken from the blob, in all. An abort
 * kills the child and rejects with the signal's reason; the child has ended when the promise settles. Errors: those of
 * applyLayer, with their kind.
 */
export async function applyInChild(request: ApplyRequest, options: ChildOptions): Promise<Applied> {
  const result = await workInChild({ apply: request }, options);
  if ("applied" in result) return result.applied;
  throw new InroError("internal", "unpack layer: its process did something else");
}

/** As {@link applyInChild}, of indexLayer. */
export async function indexInChild(
  request: IndexRequest,
  options: ChildOptions & { growing?: GrowingFile | undefined },
): Promise<Applied> {
  const result = await workInChild({ index: request }, options);
  if ("applied" in result) return result.applied;
  throw new InroError("internal", "index layer: its process did something else");
}

/** mergeLayers in a child. */
export async function mergeInChild(request: MergeRequest): Promise<void> {
  await workInChild({ merge: request }, {});
}

/** syncfs(2) of the file system of `directory`, in a child. */
export async function syncInChild(directory: string): Promise<void> {
  await workInChild({ sync: directory }, {});
}

/** Removes trees in `directory`, in a child. */
export async function removeInChild(directory: string, names: string[]): Promise<void> {
  await workInChild({ remove: directory, names }, {});
}

/** {@link dirSize} of each directory, in a child. */
export async function sizesInChild(paths: readonly string[]): Promise<number[]> {
  const sizes: number[] = [];
  while (sizes.length < paths.length) {
    const result = await workInChild({ sizes: paths.slice(sizes.length, sizes.length + PATHS_AT_ONCE) }, {});
    if (!("sizes" in result)) throw new InroError("internal", "size of directories: their process did something else");
    sizes.push(...result.sizes);
  }
  return sizes;
}

/** verifyLayers in a child. */
export async function verifyInChild(request: VerifyRequest): Promise<LayerProblem[]> {
  const result = await workInChild({ verify: request }, {});
  if ("problems" in result) return result.problems;
  throw new InroError("internal", "verify layers: their process did something else");
}

/** The digest of each file, or why there is none, in a child. */
export async function digestsInChild(paths: readonly string[], algorithm: string): Promise<string[]> {
  const digests: string[] = [];
  while (digests.length < paths.length) {
    const some = paths.slice(digests.length, digests.length + PATHS_AT_ONCE);
    const result = await workInChild({ digests: some, algorithm }, {});
    if (!("digested" in result)) throw new InroError("internal", "digests of files: their process did something else");
    digests.push(...result.digested);
  }
  return digests;
}

/** {@link diskSize} of each list of paths, in a child. Paths beyond what fits into a request are left out. */
export async function diskSizesInChild(lists: readonly (readonly string[])[]): Promise<number[]> {
  const share = Math.floor(PATHS_AT_ONCE / lists.length);
  const result = await workInChild({ disk: lists.map((paths) => paths.slice(0, share)) }, {});
  if ("sizes" in result) return result.sizes;
  throw new InroError("internal", "size on the disk: its process did something else");
}

/** An argument is at most 128 KiB (MAX_ARG_STRLEN, execve(2)). */
const PATHS_AT_ONCE = 400;

/** copyDirectory in a child; an abort kills it, and leaves what it has made to the caller. */
export async function copyInChild(request: CopyRequest, signal?: AbortSignal): Promise<void> {
  await workInChild({ copy: request }, { signal });
}

/** compressFile in a child; an abort kills it, and leaves what it has made to the caller. */
export async function compressInChild(request: CompressRequest, signal?: AbortSignal): Promise<Compressed> {
  const result = await workInChild({ compress: request }, { signal });
  if ("compressed" in result) return result.compressed;
  throw new InroError("internal", "compress layer: its process did something else");
}

interface ChildOptions {
  onProgress?: ((bytes: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

async function workInChild(
  work: LayerWork,
  { onProgress, signal, growing }: ChildOptions & { growing?: GrowingFile | undefined },
): Promise<LayerResult> {
  signal?.throwIfAborted();
  let result: LayerResult = {};
  const worker = startWorker<LayerMessage>({
    command: doorCommand(APPLY_DOOR, join(import.meta.dir, "apply-process.ts"), JSON.stringify(work)),
    what: "work on layers",
    stdio: [growing ? "pipe" : "ignore", "ignore"],
    signal,
    onMessage: (message) => {
      if ("progress" in message) onProgress?.(message.progress);
      else result = message;
    },
  });
  const stop = growing?.wake(worker.stdin);
  await worker.ended.finally(stop);
  return result;
}
