import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { daemon, end, environment, until } from "../../bench/command.ts";
import { removeCgroup } from "../../bench/workspace.ts";

export interface Result {
  code: number;
  out: string;
  err: string;
}

/** Why these programs cannot be tested here; undefined where they can. */
export function cannotUse(...programs: string[]): string | undefined {
  if (process.getuid?.() !== 0) return "not root";
  const missing = ["busybox", ...programs].filter((name) => !Bun.which(name, { PATH }));
  return missing.length > 0 ? `not installed: ${missing.join(", ")}` : undefined;
}

/** The daemons lie in sbin, which not everybody's PATH has. */
const PATH = `${process.env.PATH}:/usr/sbin:/sbin`;

const KEY = "/etc/docker/key.json";
/** What the daemons make in places that no option changes. */
const PLACES = [
  ...[KEY, "/etc/docker", "/run/docker"],
  ...["fifo", "runc", "s", ""].map((name) => join("/run/containerd", name)),
];

/** A program that calls the runtime: a folder, a cgroup and a name of its own, and the way back from all of it. */
export class Caller {
  readonly name: string;
  readonly dir: string;
  /** The launcher, or what INRO_RUNTIME names, under the runtime's name, as a user would point at it. */
  readonly runtime: string;
  readonly #env: Record<string, string>;
  readonly #absent = PLACES.filter((path) => !existsSync(path));
  readonly #undo: (() => unknown)[] = [];
  #command: readonly string[] = [];

  constructor(program: string, env: Record<string, string> = {}) {
    this.name = `inro-${program}-${process.pid}`;
    this.dir = mkdtempSync(join(tmpdir(), `${this.name}-`));
    this.runtime = this.path("inro-runtime");
    symlinkSync(process.env.INRO_RUNTIME ?? join(import.meta.dir, "../../inro"), this.runtime);
    this.#env = environment({ PATH, ...env });
  }

  path(...names: string[]): string {
    return join(this.dir, ...names);
  }

  directory(...names: string[]): string {
    const path = this.path(...names);
    mkdirSync(path, { recursive: true });
    return path;
  }

  /** What every {@link run} begins with. */
  use(...command: string[]): void {
    this.#command = command;
  }

  undo(step: () => unknown): void {
    this.#undo.push(step);
  }

  /** Starts a daemon that {@link close} ends, and waits until it answers `ask`. */
  async start(argv: readonly string[], ask: readonly string[]): Promise<void> {
    const log = this.path("daemon.log");
    const child = daemon(argv, this.#env, log);
    this.undo(() => end(child, 30_000));
    await until(async () => (await this.run(ask)).code === 0, child, 60_000, log);
  }

  async run(args: readonly string[], stdin = ""): Promise<Result> {
    const child = Bun.spawn([...this.#command, ...args], {
      env: this.#env,
      cwd: this.dir,
      stdio: [Buffer.from(stdin), "pipe", "pipe"],
    });
    const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    return { code: await child.exited, out, err };
  }

  /** Its output, without the end of line. A status other than 0 is an error. */
  async ok(...args: string[]): Promise<string> {
    const { code, out, err } = await this.run(args);
    if (code !== 0) throw new Error(`${args.join(" ")}: ${code}: ${err}${out}`);
    return out.trimEnd();
  }

  /** On a terminal of 33 rows and 91 columns, where `input` is typed once `prompt` is there. */
  async onTerminal(args: readonly string[], prompt: string, input: string): Promise<Result> {
    let out = "";
    let typed = false;
    const terminal = new Bun.Terminal({
      cols: 91,
      rows: 33,
      data(self, chunk) {
        out += new TextDecoder().decode(chunk);
        if (typed || !out.includes(prompt)) return;
        typed = true;
        self.write(input);
      },
    });
    const child = Bun.spawn([...this.#command, ...args], { env: this.#env, cwd: this.dir, terminal });
    const code = await child.exited;
    terminal.close();
    return { code, out, err: "" };
  }

  /** Undoes everything, and tells what is left on the machine all the same. */
  async close(): Promise<string[]> {
    for (const step of this.#undo.toReversed()) await step();
    const cgroups = [...hierarchies()].map((path) => join(path, this.name));
    for (const path of cgroups) removeCgroup(path);
    for (const path of this.#absent) {
      if (path === KEY) rmSync(path, { force: true });
      // Only directories, and only empty ones: another daemon may have come since.
      else removeCgroup(path);
    }
    const left = [
      ...readFileSync("/proc/self/mountinfo", "utf8")
        .split("\n")
        .filter((line) => line.includes(this.name))
        .map((line) => `mount: ${line}`),
      ...cgroups.filter((path) => existsSync(path)).map((path) => `cgroup: ${path}`),
      ...processesOf(this.name).map((line) => `process: ${line}`),
    ];
    rmSync(this.dir, { recursive: true, force: true });
    return left;
  }
}

function* hierarchies(): Iterable<string> {
  yield "/sys/fs/cgroup";
  for (const entry of readdirSync("/sys/fs/cgroup", { withFileTypes: true })) {
    if (entry.isDirectory()) yield join("/sys/fs/cgroup", entry.name);
  }
}

function processesOf(name: string): string[] {
  return readdirSync("/proc").flatMap((pid) => {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      return /^\d+$/.test(pid) && line.includes(name) ? [`${pid} ${line}`] : [];
    } catch {
      return [];
    }
  });
}

/** Counts in its memory, and tells it in a tmpfs. */
export const COUNTER = "i=0; while :; do i=$((i + 1)); echo $i > /dev/shm/n; usleep 50000; done";

/** A shell script that says so when it runs, and ends with 5 at a TERM. */
export const SERVER = 'trap "exit 5" TERM; echo started; while :; do usleep 20000; done';
