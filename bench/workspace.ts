import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

type Step = () => unknown;

/** A temporary directory, and what has to be undone before it goes: in reverse order, once, on ^C too. */
export class Workspace {
  readonly dir = mkdtempSync(join(tmpdir(), "inro-bench-"));
  /** The cgroup, of this name in every hierarchy, that all subjects which can be told so use. */
  readonly cgroup = `inro-bench-${process.pid}`;
  /** What the paths of all its directories have. */
  readonly name = basename(this.dir);
  readonly #steps: { what: string; step: Step }[] = [];
  #closing: Promise<void> | undefined;

  constructor() {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.once(signal, async () => {
        await this.close();
        process.exit(130);
      });
    }
  }

  /** A new directory in it. */
  directory(...names: string[]): string {
    const path = join(this.dir, ...names);
    mkdirSync(path, { recursive: true, mode: 0o755 });
    return path;
  }

  /** A new directory on a tmpfs, which /run is on an installed machine. */
  runDirectory(name: string): string {
    const path = join("/dev/shm", `${this.name}-${name}`);
    mkdirSync(path, { mode: 0o700 });
    this.undo(path, () => rmSync(path, { recursive: true, force: true }));
    return path;
  }

  path(...names: string[]): string {
    return join(this.dir, ...names);
  }

  /** Registers the way back from something; a step that fails is told, and does not stop the others. */
  undo(what: string, step: Step): void {
    this.#steps.push({ what, step });
  }

  /** True from the moment that the way back has begun. */
  get closing(): boolean {
    return this.#closing !== undefined;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (let last = this.#steps.pop(); last; last = this.#steps.pop()) {
      try {
        await last.step();
      } catch (error) {
        process.stderr.write(`bench: ${last.what}: ${error instanceof Error ? error.message : error}\n`);
      }
    }
    for (const hierarchy of directories("/sys/fs/cgroup")) removeCgroup(join(hierarchy, this.cgroup));
    removeCgroup(`/sys/fs/cgroup/${this.cgroup}`);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

function directories(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? [join(path, e.name)] : []));
  } catch {
    return [];
  }
}

/** Cgroups are removed one by one, the innermost first; what is still in use stays. */
export function removeCgroup(path: string): void {
  for (const inner of directories(path)) removeCgroup(inner);
  try {
    rmdirSync(path);
  } catch {
    // Not there, or not ours alone.
  }
}
