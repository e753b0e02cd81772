import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { InroError, messageOf, unavailable } from "../base/errors.ts";
import { Slots } from "../images/slots.ts";
import type { ChangedTree } from "../layers/changes.ts";
import { doorCommand } from "../layers/door.ts";
import type { Change, PathStat } from "../spec/docker-api.ts";
import { ARCHIVE_DOOR } from "./door.ts";
import type { ArchiveMessage, ArchiveWork, FilesWork, TreeWork } from "./process.ts";
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
  return { stat: await child.stat, tar: output(child), ended: child.ended };
}

/** What a container did to its image. */
export async function changesInChild(tree: ChangedTree, signal: AbortSignal): Promise<Change[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of output(await start(undefined, { kind: "changes", tree }, signal))) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString()) as Change[];
}

/** A tar of a container's layers: what it did to its image, or all that it shows. As of {@link packInChild}. */
export async function* treeInChild(work: TreeWork, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  yield* output(await start(undefined, work, signal));
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

async function* output({ stdout, ended, kill }: Child): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of stdout) yield chunk as Uint8Array;
    await ended;
  } finally {
    kill();
  }
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

interface Child {
  stdin: Writable;
  stdout: Readable;
  stat: Promise<PathStat>;
  /** Rejects with what it failed with. */
  ended: Promise<void>;
  kill(): void;
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
  const source = join(import.meta.dir, "process.ts");
  const [command, ...args] = doorCommand(ARCHIVE_DOOR, source, JSON.stringify(work));
  // Bun reads .env and bunfig.toml of the current directory: not of wherever the engine was started.
  const [stdin, stdout] =
    work.kind === "extract" || work.kind === "unpack" ? (["pipe", "ignore"] as const) : (["ignore", "pipe"] as const);
  const child: ChildProcess = spawn(command, args, {
    stdio: [stdin, stdout, "pipe", namespace ?? "ignore", root ?? "ignore"],
    cwd: "/",
  });
  const kill = () => void child.kill("SIGKILL");
  signal.addEventListener("abort", kill);
  let stat!: (stat: PathStat) => void;
  const statted = new Promise<PathStat>((resolve) => {
    stat = resolve;
  });
  let failure: InroError | undefined;
  let done = false;
  let held = "";
  let other = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    const lines = (held + text).split("\n");
    held = lines.pop()!;
    for (const line of lines) {
      const message = parse(line);
      if (!message) other = (other + line).slice(-2000);
      else if ("stat" in message) stat(message.stat);
      else if ("error" in message) failure = new InroError(message.error.kind, message.error.message);
      else done = true;
    }
  });
  const ended = new Promise<void>((resolve, reject) => {
    child.on("error", (error) => reject(unavailable(`copy files of a container: ${messageOf(error)}`, error)));
    child.on("close", (code, by) => {
      signal.removeEventListener("abort", kill);
      if (signal.aborted) reject(signal.reason);
      else if (failure) reject(failure);
      else if (done) resolve();
      else {
        const why = `the process ended with ${by ?? `exit code ${code}`}${other && `: ${other.trim()}`}`;
        reject(new InroError("internal", `copy files of a container: ${why}`));
      }
    });
  });
  // What fails before it is known fails the promise of it too.
  const known = Promise.race([statted, ended.then(() => statted)]);
  // Not every caller waits for both.
  for (const promise of [known, ended]) promise.catch(() => {});
  return { stdin: child.stdin!, stdout: child.stdout!, stat: known, ended, kill };
}

function parse(line: string): ArchiveMessage | undefined {
  try {
    return JSON.parse(line) as ArchiveMessage;
  } catch {
    return undefined;
  }
}
