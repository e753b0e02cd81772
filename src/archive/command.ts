import { join } from "node:path";
import type { Writable } from "node:stream";
import { Slots } from "../base/slots.ts";
import type { ChangedTree } from "../layers/changes.ts";
import type { Change, PathStat } from "../spec/docker-api.ts";
import { doorCommand } from "../worker/door.ts";
import { outputOf, startWorker, type Worker } from "../worker/start.ts";
import { ARCHIVE_DOOR } from "./door.ts";
import type { ArchiveWork, FilesWork, TreeWork } from "./process.ts";
import type { ToolsRequest } from "./tools.ts";

/**
 * Files of a container: by way of its mount namespace, which `namespace` is a descriptor of (it stays the caller's, and
 * may be closed when the promise has settled), or by its layers. Each has a process of its own, killed when `signal`
 * fires; then the promise rejects with its reason. Errors: an InroError of kind notFound where the path leads nowhere,
 * invalid, or forbidden.
 */

/** Processes at once: each has some 40 MB, and a client that asks for hundreds waits for itself. */
const slots = new Slots(32);

/** What `path` names. */
export async function statInChild(
  namespace: number,
  work: Omit<FilesWork, "kind">,
  signal: AbortSignal,
): Promise<PathStat> {
  const child = await start(namespace, { ...work, kind: "stat" }, signal);
  child.stdout.resume();
  await child.ended;
  return child.stat;
}

/** A tar of it: resolves when it is known what it is. Whoever stops reading `tar` ends the process. */
export async function packInChild(
  namespace: number,
  work: Omit<FilesWork, "kind">,
  signal: AbortSignal,
): Promise<{ stat: PathStat; tar: AsyncIterable<Uint8Array>; ended: Promise<void> }> {
  const child = await start(namespace, { ...work, kind: "pack" }, signal);
  return { stat: await child.stat, tar: outputOf(child), ended: child.ended };
}

/** What a container did to its image. */
export async function changesInChild(tree: ChangedTree, signal: AbortSignal): Promise<Change[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of outputOf(await start(undefined, { kind: "changes", tree }, signal))) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString()) as Change[];
}

/** A tar of a container's layers: what it did to its image, or all that it shows. As of {@link packInChild}. */
export async function* treeInChild(work: TreeWork, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  yield* outputOf(await start(undefined, work, signal));
}

/** Fills `files`, an empty directory, with the tools of `root`, both descriptors; without one, of this machine. */
export async function toolsInChild(
  files: number,
  root: number | undefined,
  tools: ToolsRequest,
  signal: AbortSignal,
): Promise<void> {
  const child = await start(files, { kind: "tools", tools, given: root !== undefined }, signal, root);
  child.stdout.resume();
  await child.ended;
}

/** Extracts a tar, of any compression, into the directory. What comes behind an error is not read. */
export async function extractInChild(
  namespace: number,
  work: Omit<FilesWork & { kind: "extract" }, "kind">,
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  await fed(await start(namespace, { ...work, kind: "extract" }, signal), source);
}

/**
 * Extracts a tar, of any compression, into a directory of the engine's own, which `directory` is a descriptor of. Files
 * are the engine's; devices and setuid bits are left out.
 */
export async function unpackInChild(
  directory: number,
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  await fed(await start(directory, { kind: "unpack" }, signal), source);
}

async function fed(child: Child, source: AsyncIterable<Uint8Array>): Promise<void> {
  const { stdin } = child;
  let failure: unknown;
  const feeding = feed(source, stdin).catch((error) => {
    // A half archive must not look like a whole one.
    failure = error;
    child.kill();
  });
  try {
    await child.ended;
  } catch (error) {
    if (failure !== undefined) throw failure;
    throw error;
  }
  await feeding;
}

async function feed(source: AsyncIterable<Uint8Array>, stdin: Writable): Promise<void> {
  let gone = false;
  for (const event of ["error", "close"]) {
    stdin.on(event, () => {
      gone = true;
    });
  }
  // Not for-await: leaving that would take the connection along, and with it the answer.
  const chunks = source[Symbol.asyncIterator]();
  for (;;) {
    const { value, done } = await chunks.next();
    if (done) break;
    // What is left is read all the same: many clients listen only when they have sent it.
    if (gone || stdin.write(value)) continue;
    await new Promise<void>((resolve) => {
      for (const event of ["drain", "error", "close"]) stdin.once(event, () => resolve());
    });
  }
  if (!gone) stdin.end();
}

interface Child extends Worker {
  stat: Promise<PathStat>;
}

/** Waits for its turn. */
function start(namespace: number | undefined, work: ArchiveWork, signal: AbortSignal, root?: number): Promise<Child> {
  return new Promise((resolve, reject) => {
    const turn = async () => {
      signal.throwIfAborted();
      const child = spawnChild(namespace, work, signal, root);
      resolve(child);
      await child.ended.catch(() => {});
    };
    slots.run(turn).catch(reject);
  });
}

function spawnChild(
  namespace: number | undefined,
  work: ArchiveWork,
  signal: AbortSignal,
  root: number | undefined,
): Child {
  const [stdin, stdout] =
    work.kind === "extract" || work.kind === "unpack" ? (["pipe", "ignore"] as const) : (["ignore", "pipe"] as const);
  const { promise: statted, resolve: onMessage } = Promise.withResolvers<PathStat>();
  const worker = startWorker<PathStat>({
    command: doorCommand(ARCHIVE_DOOR, join(import.meta.dir, "process.ts"), JSON.stringify(work)),
    what: "copy files of a container",
    stdio: [stdin, stdout, namespace ?? "ignore", root ?? "ignore"],
    signal,
    onMessage,
  });
  // What fails before it is known fails the promise of it too.
  const stat = Promise.race([statted, worker.ended.then(() => statted)]);
  // Not every caller waits for it.
  stat.catch(() => {});
  return { ...worker, stat };
}
