import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface Environment {
  [name: string]: string;
}

/** The machine's own, without what would lead a command to another engine. */
export function environment(more: Environment = {}): Environment {
  const kept = Object.entries(process.env).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && !/^(INRO|DOCKER|CONTAINER|XDG)_/.test(entry[0]),
  );
  return { ...Object.fromEntries(kept), ...more };
}

/** A command that is run many times: its stdin and stdout are /dev/null, its stderr a file, read when it fails. */
export class TimedCommand {
  readonly #log: string;
  readonly #stderr: number;

  constructor(
    readonly argv: readonly string[],
    private readonly env: Environment,
    dir: string,
  ) {
    this.#log = join(dir, `stderr-${counter++}`);
    this.#stderr = openSync(this.#log, "a");
  }

  /** Milliseconds from before the spawn until it has ended. A status other than 0 is an Error with the last line. */
  run(): number {
    const start = performance.now();
    const { exitCode, signalCode } = Bun.spawnSync([...this.argv], {
      env: this.env,
      stdio: ["ignore", "ignore", this.#stderr],
    });
    const time = performance.now() - start;
    if (exitCode !== 0) {
      const line = readFileSync(this.#log, "utf8").trimEnd().split("\n").at(-1);
      throw new Error(`${this.argv.join(" ")}: ${signalCode ?? `status ${exitCode}`}: ${line}`);
    }
    return time;
  }

  close(): void {
    closeSync(this.#stderr);
  }
}
let counter = 0;

/** Runs a command to its end: its stdout. A status other than 0 is an Error. */
export function output(argv: readonly string[], env: Environment = environment(), stdin?: Uint8Array): string {
  const result = Bun.spawnSync([...argv], { env, stdio: [stdin ?? "ignore", "pipe", "pipe"] });
  if (result.exitCode !== 0) {
    throw new Error(`${argv.slice(0, 3).join(" ")}: ${result.stderr.toString().trim().split("\n").at(-1)}`);
  }
  return result.stdout.toString().trim();
}

/** The program of this name in PATH; an Error says that it is not installed. */
export function installed(name: string): string {
  const path = Bun.which(name);
  if (!path) throw new Error("not installed");
  return path;
}

/** A daemon in a session of its own, so that ^C reaches the bench alone. */
export function daemon(argv: readonly string[], env: Environment, log: string): Bun.Subprocess {
  const fd = openSync(log, "a");
  try {
    return Bun.spawn([...argv], { env, stdio: ["ignore", fd, fd], detached: true, cwd: "/" });
  } finally {
    closeSync(fd);
  }
}

/** SIGTERM, and SIGKILL after `patience` ms. Resolves when it has ended. */
export async function end(child: Bun.Subprocess, patience = 10_000): Promise<void> {
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), patience);
  await child.exited;
  clearTimeout(timer);
}

/** Until `ready` is true; an Error after `limit` ms or when `child` ends first. */
export async function until(
  ready: () => boolean | Promise<boolean>,
  child: Bun.Subprocess,
  limit: number,
  log: string,
) {
  const deadline = performance.now() + limit;
  while (!(await ready())) {
    if (child.exitCode !== null || performance.now() > deadline) {
      const last = readFileSync(log, "utf8").trimEnd().split("\n").at(-1);
      throw new Error(`${child.exitCode === null ? "did not come up" : "left"}: ${last}`);
    }
    await Bun.sleep(20);
  }
}
