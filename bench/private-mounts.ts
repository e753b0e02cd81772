import { closeSync, openSync, readFileSync } from "node:fs";
import type { Environment } from "./command.ts";
import type { Cost } from "./subject.ts";

export interface OverlayMount {
  target: string;
  options: string;
}

export type Request =
  | ({ kind: "mount" } & OverlayMount)
  | { kind: "unmount"; target: string }
  | {
      kind: "run";
      commands: readonly (readonly string[])[];
      cwd: string;
      env: Environment;
      stderr: number;
      overlay?: OverlayMount;
      /** A process that does part of the work: its processor time counts. */
      beside?: number;
    }
  | { kind: "start"; argv: readonly string[]; argv0: string; env: Environment; stderr: number }
  | { kind: "peak"; argv: readonly string[]; cwd: string; env: Environment; stderr: number };
export type Answer = Cost & { peak?: number; pid?: number };
export type Reply = { value: Answer } | { error: string };

/**
 * A thread with a mount namespace of its own: what is mounted there the host never sees, and it is gone with the
 * thread. Processes that it spawns are in that namespace too.
 */
export class PrivateMounts {
  readonly #worker = new Worker(new URL("private-mounts.worker.ts", import.meta.url).href);
  readonly #log: string;
  readonly #stderr: number;

  constructor(log: string) {
    this.#log = log;
    this.#stderr = openSync(log, "a");
  }

  async mount(overlay: OverlayMount): Promise<void> {
    await this.#ask({ kind: "mount", ...overlay });
  }

  async unmount(target: string): Promise<void> {
    await this.#ask({ kind: "unmount", target });
  }

  /**
   * Runs commands one after the other to their ends and tells what they cost together, mounting and unmounting `overlay`
   * around them included, and the processor time of `beside`. A status other than 0 is an Error with the last line that it said.
   */
  async run(
    commands: readonly (readonly string[])[],
    cwd: string,
    env: Environment,
    more: { overlay?: OverlayMount; beside?: number } = {},
  ): Promise<Cost> {
    try {
      return await this.#ask({ kind: "run", commands, cwd, env, stderr: this.#stderr, ...more });
    } catch (error) {
      const line = readFileSync(this.#log, "utf8").trimEnd().split("\n").at(-1);
      throw new Error(`${error instanceof Error ? error.message : error}: ${line}`);
    }
  }

  /** Starts a process, which the caller ends. */
  async start(argv: readonly string[], argv0: string, env: Environment): Promise<number> {
    return (await this.#ask({ kind: "start", argv, argv0, env, stderr: this.#stderr })).pid!;
  }

  /** Bytes of memory that a command had at most. */
  async peak(argv: readonly string[], cwd: string, env: Environment): Promise<number> {
    return (await this.#ask({ kind: "peak", argv, cwd, env, stderr: this.#stderr })).peak ?? Number.NaN;
  }

  #ask(request: Request): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#worker.onerror = (event) => reject(new Error(event.message));
      this.#worker.onmessage = ({ data }: MessageEvent<Reply>) => {
        if ("error" in data) reject(new Error(data.error));
        else resolve(data.value);
      };
      this.#worker.postMessage(request);
    });
  }

  close(): void {
    this.#worker.terminate();
    closeSync(this.#stderr);
  }
}
