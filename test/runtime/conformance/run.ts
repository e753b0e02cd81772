import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Runtime } from "../bundle.ts";
import type { Case } from "./case.ts";
import { CGROUP, Context } from "./context.ts";
import { removeCgroups } from "./machine.ts";
import { build, type Named } from "./runtimes.ts";

/** `skip`: the machine lacks something. `text`: what was wrong, or is missing. */
export interface Outcome {
  result: "ok" | "failed" | "skip";
  text: string;
}

/** Cases at once; a container's launch waits for the kernel more than for a processor. */
const AT_ONCE = 4;

/** Of one case, in milliseconds: for a runtime that hangs, not for one that is slow: the machine may be emulated. */
const DEADLINE = 240_000;

async function within(time: number, work: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${time / 1000} s`)), time);
  });
  await Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/** Runs cases on one runtime. The owner closes it. */
export class Suite {
  readonly #runtime: Runtime;
  #free = AT_ONCE;
  readonly #waiting: (() => void)[] = [];

  static async open(named: Named): Promise<Suite> {
    const directory = mkdtempSync(join(tmpdir(), "inro-built-"));
    try {
      const built = named.command ? { command: named.command } : await build(directory);
      return new Suite(named, directory, new Runtime(built.command), built.resident);
    } catch (error) {
      rmSync(directory, { recursive: true });
      throw error;
    }
  }

  private constructor(
    readonly named: Named,
    readonly directory: string,
    runtime: Runtime,
    readonly resident: Bun.Subprocess | undefined,
  ) {
    this.#runtime = runtime;
    // Containers in user namespaces look up their bundle as nobody.
    chmodSync(this.#runtime.dir, 0o755);
  }

  /** Throws what was wrong. */
  async check(test: Case): Promise<void> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const context = new Context(this.#runtime, this.named.kind, test);
    try {
      await within(DEADLINE, test.run(context)).finally(() => within(DEADLINE, context.close()));
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }

  async outcome(test: Case): Promise<Outcome> {
    if (test.missing) return { result: "skip", text: test.missing };
    try {
      await this.check(test);
      return { result: "ok", text: "" };
    } catch (error) {
      return { result: "failed", text: error instanceof Error ? error.message : String(error) };
    }
  }

  async close(): Promise<void> {
    await this.#runtime.close();
    this.resident?.kill("SIGKILL");
    await this.resident?.exited;
    await removeCgroups(CGROUP);
    rmSync(this.directory, { recursive: true });
  }
}
