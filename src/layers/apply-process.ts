import { createHash } from "node:crypto";
import { writeSync } from "node:fs";
import { InroError, messageOf } from "../base/errors.ts";
import { sys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
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
 *     engine  <--stdout: lines of JSON--   {progress}…, then {applied}, {sizes}, {compressed}, {done} or {error}
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

export type ApplyMessage =
  | { progress: number }
  | { applied: Applied }
  | { done: true }
  | { sizes: number[] }
  | { problems: LayerProblem[] }
  | { digested: string[] }
  | { compressed: Compressed }
  | { error: { kind: InroError["kind"]; message: string } };

const PROGRESS_EVERY = 100;
const SIGKILL = 9;

/** `json` is a {@link LayerWork}. The result is the exit code. */
export async function applyMain(json: string): Promise<number> {
  // An engine that dies takes its unpacking with it; the next one removes what is left.
  sys("prctl", "PR_SET_PDEATHSIG", k.PR_SET_PDEATHSIG, SIGKILL);
  process.umask(0);
  let last = 0;
  try {
    const work = JSON.parse(json) as LayerWork;
    if ("sync" in work) {
      syncFileSystem(work.sync);
      send({ done: true });
      return 0;
    }
    if ("remove" in work) {
      removeTrees(work.remove, work.names);
      send({ done: true });
      return 0;
    }
    if ("sizes" in work) {
      const sizes: number[] = [];
      for (const path of work.sizes) sizes.push(await dirSize(path));
      send({ sizes });
      return 0;
    }
    if ("disk" in work) {
      send({ sizes: work.disk.map(diskSize) });
      return 0;
    }
    if ("verify" in work) {
      send({ problems: await verifyLayers(work.verify) });
      return 0;
    }
    if ("digests" in work) {
      const digested: string[] = [];
      for (const path of work.digests) digested.push(await digestOf(path, work.algorithm).catch(messageOf));
      send({ digested });
      return 0;
    }
    if ("copy" in work) {
      copyDirectory(work.copy);
      send({ done: true });
      return 0;
    }
    if ("compress" in work) {
      send({ compressed: await compressFile(work.compress) });
      return 0;
    }
    if ("merge" in work) {
      mergeLayers(work.merge);
      send({ done: true });
      return 0;
    }
    const onProgress = (progress: number) => {
      if (Date.now() - last < PROGRESS_EVERY) return;
      last = Date.now();
      send({ progress });
    };
    send({
      applied: await ("index" in work ? indexLayer(work.index, onProgress) : applyLayer(work.apply, onProgress)),
    });
    return 0;
  } catch (error) {
    send({ error: { kind: error instanceof InroError ? error.kind : "internal", message: messageOf(error) } });
    return 1;
  }
}

async function digestOf(path: string, algorithm: string): Promise<string> {
  const hash = createHash(algorithm);
  for await (const chunk of readFileChunks(path)) hash.update(chunk);
  return `${algorithm}:${hash.digest("hex")}`;
}

function send(message: ApplyMessage): void {
  writeSync(1, `${JSON.stringify(message)}\n`);
}

// No top-level await: the single binary is compiled to bytecode, which has none.
if (import.meta.main) {
  applyMain(process.argv[2] ?? "").then((code) => {
    process.exitCode = code;
  });
}
