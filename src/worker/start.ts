import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { InroError, messageOf, unavailable } from "../base/errors.ts";
import type { WorkerMessage } from "./main.ts";

export interface WorkerOptions<M> {
  /** Of {@link doorCommand}. */
  readonly command: readonly [string, ...string[]];
  /** What it is there for, for messages: `read layers`. */
  readonly what: string;
  /** stdin and stdout, and what follows stderr, which is the worker's own. */
  readonly stdio: readonly ["pipe" | "ignore", "pipe" | "ignore", ...(number | "ignore")[]];
  readonly signal?: AbortSignal | undefined;
  /** What it says beside its end. */
  onMessage?(message: M): void;
}

/** A process of the program that does one piece of work. */
export interface Worker {
  /** There when they are pipes. */
  readonly stdin: Writable;
  readonly stdout: Readable;
  /**
   * Settles when it is gone: with the work done, or rejecting with the signal's reason, the work's own error (its kind
   * kept), unavailable when there is no process, or internal when it ended without a word.
   */
  readonly ended: Promise<void>;
  kill(): void;
}

/** Most that is kept of what it says beside its messages, in characters. */
const MOST_SAID = 2000;

/** Starts a worker ({@link file://./main.ts} is its side). It is killed when the signal fires. */
export function startWorker<M = never>({ command, what, stdio, signal, onMessage }: WorkerOptions<M>): Worker {
  const [stdin, stdout, ...more] = stdio;
  const [program, ...args] = command;
  // Bun reads .env and bunfig.toml of the current directory: not of wherever the engine was started.
  const child: ChildProcess = spawn(program, args, {
    stdio: [stdin, stdout, "pipe", ...more] as StdioOptions,
    cwd: "/",
  });
  const kill = () => void child.kill("SIGKILL");
  signal?.addEventListener("abort", kill);
  let done = false;
  let failure: InroError | undefined;
  let held = "";
  let other = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    const lines = (held + text).split("\n");
    held = lines.pop()!;
    for (const line of lines) {
      const message = parse<M>(line);
      if (!message) other = `${other}${line}\n`.slice(-MOST_SAID);
      else if ("done" in message) done = true;
      else if ("error" in message) failure = new InroError(message.error.kind, message.error.message);
      else onMessage?.(message.say);
    }
  });
  // One that ended early says why itself.
  child.stdin?.on("error", () => {});
  const ended = new Promise<void>((resolve, reject) => {
    const over = () => signal?.removeEventListener("abort", kill);
    child.on("error", (error) => {
      over();
      reject(unavailable(`${what}: start a process: ${messageOf(error)}`, error));
    });
    child.on("close", (code, by) => {
      over();
      if (signal?.aborted) reject(signal.reason);
      else if (failure) reject(failure);
      else if (done) resolve();
      else {
        const said = (other + held).trim();
        const end = `${what}: the process ended with ${by ?? `exit code ${code}`}`;
        reject(new InroError("internal", said ? `${end}: ${said}` : end));
      }
    });
  });
  // Not every caller waits for it.
  ended.catch(() => {});
  return { stdin: child.stdin!, stdout: child.stdout!, ended, kill };
}

/** What a worker prints, until it has ended well. Whoever stops reading ends it. */
export async function* outputOf({ stdout, ended, kill }: Worker): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of stdout) yield chunk as Uint8Array;
    await ended;
  } finally {
    kill();
  }
}

function parse<M>(line: string): WorkerMessage<M> | undefined {
  try {
    const message = JSON.parse(line) as unknown;
    return typeof message === "object" && message !== null ? (message as WorkerMessage<M>) : undefined;
  } catch {
    return undefined;
  }
}
