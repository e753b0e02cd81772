import { codeOf, InroError, notFound } from "../base/errors.ts";
import { decompressAny } from "../images/decompress.ts";
import { type ChangedTree, changes } from "../layers/changes.ts";
import type { IdRange } from "../layers/owners.ts";
import { layerTar, rootfsTar } from "../layers/tree-tar.ts";
import { sys, trySys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import { openat, read, writeAll } from "../linux/file.ts";
import type { PathStat } from "../spec/docker-api.ts";
import { say, workerMain } from "../worker/main.ts";
import { type ExtractOptions, Extractor } from "./extract.ts";
import { pack } from "./pack.ts";
import { rootOf } from "./root.ts";
import { pathStat } from "./stat.ts";
import { fillTools, type ToolsRequest } from "./tools.ts";

/**
 * The other side of command.ts: `archiveMain` is a hidden door of the program, which does one piece of work on the files
 * of a container and ends. It has a process of its own since it enters the container's mount namespace, waits for its
 * file systems, and is one long run of system calls.
 *
 *     engine  --argv: work as JSON; descriptor 3: the mount namespace-->   this process
 *     engine  --stdin: a tar, to extract-->                                this process
 *     engine  <--stdout: a tar, packed; or changes, as JSON--              this process
 *     engine  <--message of a worker: what the path names--                this process
 */
export type ArchiveWork = FilesWork | TreeWork | ToolsWork | UnpackWork;

/** By the mount namespace. */
export type FilesWork = {
  /** As {@link file://./path.ts} has it. */
  path: string;
  /** Of the container's user namespace. */
  ids?: IdRange;
} & (
  | { kind: "stat" | "pack" }
  | { kind: "extract"; owner: "archive" | { uid: number; gid: number }; noOverwriteDirNonDir: boolean }
);

/** By the layers, without what is mounted in them. */
export type TreeWork =
  | { kind: "changes" | "layer"; tree: ChangedTree }
  | { kind: "rootfs"; tree: Parameters<typeof rootfsTar>[0] };

/** Of the tools of another root: descriptor 3 is the directory to fill, 4 that root; absent, it is this machine's. */
export type ToolsWork = { kind: "tools"; tools: ToolsRequest; given: boolean };

/** Of files that nobody else uses: descriptor 3 is their directory. */
export type UnpackWork = { kind: "unpack" };

/** Where the engine puts the descriptor of the mount namespace. */
export const NAMESPACE_FD = 3;
const TOOLS_ROOT_FD = 4;

const CHUNK = 1 << 18;

/** `json` is an {@link ArchiveWork}. The result is the exit code. */
export function archiveMain(json: string): Promise<number> {
  return workerMain(async () => {
    process.umask(0);
    await doWork(JSON.parse(json) as ArchiveWork);
  });
}

async function doWork(work: ArchiveWork): Promise<void> {
  if ("tree" in work) return await readTree(work);
  if (work.kind === "tools") {
    const root = work.given ? TOOLS_ROOT_FD : openat(k.AT_FDCWD, "/", k.O_PATH | k.O_DIRECTORY);
    fillTools(NAMESPACE_FD, root, work.tools);
    return;
  }
  if (work.kind === "unpack") {
    const options = { follow: false, owner: "ours", noOverwriteDirNonDir: false } as const;
    return await extractInto({ ...options, root: NAMESPACE_FD, into: "/" });
  }
  const root = rootOf(NAMESPACE_FD);
  if (work.kind === "extract") return await extract(root, work);
  say<PathStat>(found(() => pathStat(root, work.path), work.path).shown);
  if (work.kind === "pack") for (const piece of pack({ root, ...work })) writeAll(1, piece);
}

async function readTree(work: TreeWork): Promise<void> {
  if (work.kind === "changes") {
    writeAll(1, Buffer.from(JSON.stringify(changes(work.tree))));
    return;
  }
  const tar = work.kind === "layer" ? layerTar(work.tree) : rootfsTar(work.tree);
  for await (const chunk of tar) writeAll(1, chunk);
}

async function extract(root: number, work: FilesWork & { kind: "extract" }): Promise<void> {
  if (work.ids) makeFilesAs(work.ids.hostID);
  const { path: into, ...options } = work;
  await extractInto({ ...options, root, into, follow: true });
}

async function extractInto(options: ExtractOptions): Promise<void> {
  const extractor = new Extractor(options);
  try {
    for await (const chunk of decompressAny(stdin())) extractor.push(chunk);
    extractor.finish();
  } finally {
    extractor.close();
  }
}

/**
 * A new file is the maker's first, and the host's root has no number on a mount that maps its owners: the namespace's
 * root makes it (setfsuid(2)), with the rights of ours.
 */
function makeFilesAs(id: number): void {
  sys("prctl", "PR_SET_SECUREBITS", k.PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP);
  trySys("setfsgid", id);
  trySys("setfsuid", id);
}
/** capabilities(7). */
const SECBIT_NO_SETUID_FIXUP = 4;

async function* stdin(): AsyncGenerator<Uint8Array> {
  for (;;) {
    const buffer = Buffer.allocUnsafe(CHUNK);
    const n = read(0, buffer);
    if (n === 0) return;
    yield buffer.subarray(0, n);
  }
}

function found<T>(look: () => T, path: string): T {
  try {
    return look();
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(codeOf(error) ?? "")) throw notFound(`no such path: ${path}`, error);
    if (codeOf(error) === "ELOOP" || codeOf(error) === "ENAMETOOLONG") {
      throw new InroError("invalid", `open ${path}: ${codeOf(error)}`, { cause: error });
    }
    throw error;
  }
}

// No top-level await: the single binary is compiled to bytecode, which has none.
if (import.meta.main) {
  archiveMain(process.argv[2] ?? "").then((code) => {
    process.exit(code);
  });
}
