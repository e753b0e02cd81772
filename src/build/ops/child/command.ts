import { spawn } from "node:child_process";
import { join } from "node:path";
import { InroError, messageOf, unavailable } from "../../../base/errors.ts";
import { Slots } from "../../../images/slots.ts";
import { doorCommand } from "../../../layers/door.ts";
import { BUILD_DOOR } from "./door.ts";
import type { BuildAnswer, BuildWork } from "./work.ts";

/** Processes at once: each has some 40 MB. */
const slots = new Slots(8);

/**
 * Does the work in a process of its own and hands its output to `take`. It is killed when `signal` fires, or when `take`
 * rejects, and has ended when the promise settles. Errors are those of the work, with their kind.
 */
export function inChild<T>(
  work: BuildWork,
  signal: AbortSignal,
  take: (output: AsyncIterable<Uint8Array>) => Promise<T>,
): Promise<T> {
  return slots.run(() => run(work, signal, take));
}

async function run<T>(
  work: BuildWork,
  signal: AbortSignal,
  take: (output: AsyncIterable<Uint8Array>) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const [command, ...args] = doorCommand(BUILD_DOOR, join(import.meta.dir, "process.ts"), "");
  // Bun reads .env and bunfig.toml of the current directory: not of wherever the engine was started.
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"], cwd: "/" });
  const kill = () => void child.kill("SIGKILL");
  signal.addEventListener("abort", kill);
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-16_384);
  });
  const ended = new Promise<string>((resolve, reject) => {
    child.on("error", (error) =>
      reject(unavailable(`start a process for files of a build: ${messageOf(error)}`, error)),
    );
    child.on("close", (code, by) => resolve(by ?? `exit code ${code}`));
  });
  ended.catch(() => {});
  // One that ended early says why itself.
  child.stdin.on("error", () => {});
  child.stdin.end(JSON.stringify(work));
  async function* output(): AsyncGenerator<Uint8Array> {
    yield* child.stdout;
    const end = await ended;
    signal.throwIfAborted();
    const answer = parse(said);
    if (!answer)
      throw new InroError("internal", `files of a build: the process ended with ${end}: ${said.trim().slice(-2000)}`);
    if ("error" in answer) throw new InroError(answer.error.kind, answer.error.message);
  }
  try {
    return await take(output());
  } finally {
    kill();
    signal.removeEventListener("abort", kill);
    await ended.catch(() => {});
  }
}

function parse(text: string): BuildAnswer | undefined {
  try {
    return JSON.parse(text.trim().split("\n").at(-1) ?? "") as BuildAnswer;
  } catch {
    return undefined;
  }
}
