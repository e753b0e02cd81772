import { expect } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { detectHierarchy } from "../../../src/cgroups/hierarchy.ts";
import { sys } from "../../../src/linux/call.ts";
import * as k from "../../../src/linux/constants.ts";
import { reap } from "../../../src/linux/process.ts";
import { eventually, type Runtime } from "../bundle.ts";

/**
 * What a runtime could leave behind: cgroups of ours, mounts that name our directory, processes, state directories. The
 * test process is the subreaper, so every orphan of the runtime becomes its child.
 */
export class Traces {
  readonly #runtime: Runtime;
  /** In the id of every container of this test, by which its cgroups are told from those of others. */
  readonly mark: string;

  constructor(runtime: Runtime, mark: string) {
    this.#runtime = runtime;
    this.mark = `${mark}-${process.pid}`;
    subreaper(true);
    // Whoever runs next in this process does not reap orphans, and a pid namespace does not end before they are.
    runtime.closing.push(() => {
      subreaper(false);
      this.#descendants(process.pid);
    });
  }

  /** Reaps orphans as they end: `delete` waits for the pid namespace that those of a killed runtime are in. */
  reapMeanwhile(): void {
    const reaper = setInterval(() => this.#descendants(process.pid), 20);
    this.#runtime.closing.push(() => clearInterval(reaper));
  }

  id(name: string | number): string {
    return `${this.mark}-${name}`;
  }

  now(): string[] {
    const { dir, root } = this.#runtime;
    const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
    return [
      ...cgroups().filter((path) => path.includes(this.mark)),
      ...mounts.filter((line) => line.includes(dir)).map((line) => `mount ${line}`),
      ...this.#descendants(process.pid).map((pid) => `process ${pid} ${commandOf(pid)}`),
      ...(existsSync(root) ? readdirSync(root) : [])
        .filter((name) => !name.includes("@"))
        .map((name) => `state ${name}`),
    ];
  }

  /** Waits until all is as `before` says: what was killed takes a moment to be gone. */
  async settle(before: readonly string[] = []): Promise<void> {
    let now: string[] = [];
    const left = () => {
      now = this.now().filter((trace) => !before.includes(trace));
      return now.length === 0;
    };
    await eventually("nothing is left", left).catch(() => {
      throw new Error(`left behind: ${now.join("; ")}`);
    });
  }

  /** Children and theirs; orphans that have ended are reaped, and none of them. */
  #descendants(pid: number): number[] {
    const found: number[] = [];
    for (const name of readdirSync("/proc")) {
      const child = Number(name);
      const stat = Number.isInteger(child) ? statOf(child) : undefined;
      if (stat?.parent !== pid) continue;
      if (stat.state === "Z") {
        if (pid === process.pid && !this.#runtime.children.has(child)) reap(child);
        continue;
      }
      found.push(child, ...this.#descendants(child));
    }
    return found;
  }
}

function subreaper(on: boolean): void {
  sys("prctl", "PR_SET_CHILD_SUBREAPER", k.PR_SET_CHILD_SUBREAPER, on ? 1 : 0, 0, 0, 0);
}

/** Directories of the hierarchies, two levels down: ours and those inside. */
export function cgroups(): string[] {
  const { controllers, unified } = detectHierarchy();
  const mountpoints = new Set([...controllers.values(), ...(unified === undefined ? [] : [unified])]);
  const found: string[] = [];
  for (const mountpoint of mountpoints) {
    for (const name of directories(mountpoint)) {
      found.push(`${mountpoint}/${name}`);
      for (const inner of directories(`${mountpoint}/${name}`)) found.push(`${mountpoint}/${name}/${inner}`);
    }
  }
  return found;
}

function directories(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch {
    return [];
  }
}

function statOf(pid: number): { parent: number; state: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const [state = "", parent = ""] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { state, parent: Number(parent) };
  } catch {
    return undefined;
  }
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "?";
  }
}

/** `msg` of the one line of the log, which is runc's in form. */
export function lastError(log: string): string {
  const lines = readFileSync(log, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  const error = lines.at(-1);
  expect(Object.keys(error).sort()).toEqual(["level", "msg", "time"]);
  expect(error).toMatchObject({ level: "error", time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/) });
  return error.msg;
}
