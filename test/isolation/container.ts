import { existsSync, readFileSync } from "node:fs";
import type { Result, TestEngine } from "../harness.ts";

/** What the isolation tests share. */

/** Why these tests do not run on this machine; "" when they do. */
export const missing =
  process.getuid?.() !== 0 ? " (needs root)" : existsSync("/bin/busybox") ? "" : " (needs busybox)";

/** Stdout of `sh -c SCRIPT` in a new container, without the last line end; it must end with 0. */
export async function shell(engine: TestEngine, script: string, ...flags: string[]): Promise<string> {
  const { code, stdout, stderr } = await engine.sh(script, ...flags);
  if (code !== 0) throw new Error(`status ${code}: ${stderr}${stdout}`);
  return stdout.replace(/\n$/, "");
}

/** A container that runs until the end of the block: `await using box = await Box.run(engine, flags)`. */
export class Box implements AsyncDisposable {
  private constructor(
    private readonly engine: TestEngine,
    readonly id: string,
    /** Of its first process, on the host. */
    readonly pid: number,
  ) {}

  /** `command` is a script for sh. */
  static async run(engine: TestEngine, flags: readonly string[] = [], command = "exec sleep 1000", image = "busybox") {
    const id = await engine.ok("run", "-d", ...flags, image, "sh", "-c", command);
    return new Box(engine, id, Number(await engine.ok("inspect", "-f", "{{.State.Pid}}", id)));
  }

  exec(command: readonly string[], ...flags: string[]): Promise<Result> {
    return this.engine.inro(["exec", ...flags, this.id, ...command]);
  }

  /** Stdout of a script, which must end with 0. */
  async sh(script: string, ...flags: string[]): Promise<string> {
    return await this.engine.ok("exec", ...flags, this.id, "sh", "-c", script);
  }

  status(field: string): string {
    return new RegExp(`^${field}:\\s*(.*)$`, "m").exec(readFileSync(`/proc/${this.pid}/status`, "utf8"))?.[1] ?? "";
  }

  /** The directory of its cgroup on the host: of the v1 hierarchy of `controller`, or the one of v2. */
  cgroup(controller: string): string {
    const lines = readFileSync(`/proc/${this.pid}/cgroup`, "utf8").trim().split("\n");
    for (const line of lines) {
      const [, names = "", path = ""] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
      if (names.split(",").includes(controller)) return `/sys/fs/cgroup/${names}${path}`;
    }
    return `/sys/fs/cgroup${/^0::(.*)$/m.exec(lines.join("\n"))?.[1]}`;
  }

  /** Text of the file of one of the names, of v1 or v2, in its cgroup. */
  limit(controller: string, ...names: string[]): string {
    const directory = this.cgroup(controller);
    const name = names.find((name) => existsSync(`${directory}/${name}`));
    if (!name) throw new Error(`${directory} has none of ${names.join(", ")}`);
    return readFileSync(`${directory}/${name}`, "utf8").trim();
  }

  async [Symbol.asyncDispose]() {
    await this.engine.inro(["rm", "-f", this.id]);
  }
}

/** Waits for a change that another process makes. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 60_000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`${what}: not within a minute`);
    await Bun.sleep(2);
  }
}
