import { afterAll, beforeAll } from "bun:test";
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inNetworkNamespace } from "../src/linux/netlink/socket.ts";
import { createNetworkNamespace, type NetworkNamespace } from "../src/network/namespace.ts";
import { asUser, GID, reachableCommand, SUBID_FILES, UID, type UserOptions } from "./runtime/rootless/user.ts";

/** What the end-to-end tests share: an engine of their own, the command line against it, and small images. */

export const top = join(import.meta.dir, "..");
export const isRoot = process.getuid?.() === 0;
export const hasBusybox = existsSync("/bin/busybox");
/** The built binary where `INRO_BIN` names one, else the source. */
export const command = process.env.INRO_BIN ? [process.env.INRO_BIN] : [process.execPath, join(top, "src/main.ts")];

export interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

export class TestEngine {
  readonly dir = join(process.env.INRO_TEST_DIR ?? "/var/tmp", `inro-test-${randomBytes(4).toString("hex")}`);
  readonly dataRoot = join(this.dir, "data");
  readonly execRoot = join(this.dir, "exec");
  readonly socket = join(this.dir, "inro.sock");
  readonly host = `unix://${this.socket}`;
  #process: Bun.Subprocess | undefined;
  readonly #extra: string[];
  /** It is a plain user's; the command line stays root's, who may use any socket. */
  readonly rootless: UserOptions | undefined;
  /** The network namespace that stands for its host's: with it there are bridges, which the machine must not see. */
  readonly namespace: NetworkNamespace | undefined;
  /** Run after the engine's end, before the check for what is left. */
  readonly afterEnd: (() => void)[] = [];

  /** `networks`: in a network namespace of its own. Without, it has no default network. */
  constructor(extra: string[] = [], options: { networks?: boolean; rootless?: UserOptions } = {}) {
    this.rootless = options.rootless ?? (process.env.INRO_TEST_ROOTLESS ? ROOTLESS : undefined);
    this.#extra = options.networks ? extra : ["--bridge", "none", ...extra];
    this.namespace = options.networks ? createNetworkNamespace() : undefined;
  }

  /** Runs `body`, which does not wait, on the engine's host, as far as networks go. */
  onHost<T>(body: () => T): T {
    return this.namespace ? inNetworkNamespace(this.namespace.fd, body) : body();
  }

  get pid(): number {
    return this.#process!.pid;
  }

  get log(): string {
    return readFileSync(join(this.dir, "log"), "utf8");
  }

  /** Resolves when the engine says that it listens. `more` flags are for this start. */
  async start(more: readonly string[] = []): Promise<this> {
    mkdirSync(this.dir, { recursive: true, mode: 0o700 });
    const log = Bun.file(join(this.dir, "log"));
    const env: Record<string, string | undefined> = { ...process.env, INRO_READY_FD: "3" };
    const program = this.rootless ? this.#lower(env) : command;
    const start = () =>
      Bun.spawn(
        this.#argv(program, env, [
          "serve",
          "--host",
          this.host,
          "--data-root",
          this.dataRoot,
          "--exec-root",
          this.execRoot,
          ...this.#extra,
          ...more,
        ]),
        { env, stdio: ["ignore", log, log, "pipe"] },
      );
    const child = this.onHost(start);
    this.#process = child;
    const ready = await new Response(Bun.file(child.stdio[3] as number).stream()).text();
    if (!ready.includes("ready")) throw new Error(`the engine did not start: ${this.log}`);
    return this;
  }

  /** Gives the engine's directory to the user, and says what runs it. */
  #lower(env: Record<string, string | undefined>): string[] {
    const { uid = UID, gid = GID } = this.rootless!;
    const run = join(this.dir, "run");
    mkdirSync(run, { recursive: true, mode: 0o700 });
    for (const path of [this.dir, run]) chownSync(path, uid, gid);
    const program = reachableCommand(this.dir);
    for (const name of Object.keys(env)) if (name.startsWith("XDG_")) delete env[name];
    Object.assign(env, { HOME: this.dir, XDG_RUNTIME_DIR: run, PATH: "/usr/local/bin:/usr/bin:/bin" });
    // Without a default network there is nothing to connect.
    if (!this.namespace) env.INRO_ROOTLESS_NETWORK = "none";
    return program;
  }

  #argv(program: readonly string[], env: Record<string, string | undefined>, args: readonly string[]): string[] {
    const argv = [...program, ...args];
    if (!this.rootless) return argv;
    mkdirSync(scratch, { recursive: true, mode: 0o755 });
    const given = Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined);
    return asUser(scratch, argv, Object.fromEntries(given), this.rootless);
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    this.#process?.kill(signal);
    await this.#process?.exited;
    this.#process = undefined;
  }

  /** The engine's own end; its exit status. */
  async ended(): Promise<number> {
    const code = await this.#process!.exited;
    this.#process = undefined;
    return code;
  }

  /** Runs the command line; `stdin` is its whole input. */
  async inro(
    args: readonly string[],
    options: { stdin?: string | Uint8Array; env?: Record<string, string>; cwd?: string } = {},
  ): Promise<Result> {
    const child = Bun.spawn([...command, ...args], {
      env: { ...process.env, INRO_HOST: this.host, ...options.env },
      stdin: options.stdin === undefined ? "ignore" : Buffer.from(options.stdin as string),
      stdout: "pipe",
      stderr: "pipe",
      ...(options.cwd ? { cwd: options.cwd } : {}),
    });
    const [stdout, stderr, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { code, stdout, stderr };
  }

  /** Starts the command line; `terminal` gives it one of its own, else stdin is a pipe. The caller awaits its end. */
  spawn(args: readonly string[], options: { terminal?: Bun.TerminalOptions; env?: Record<string, string> } = {}) {
    const env = { ...process.env, INRO_HOST: this.host, ...options.env };
    if (options.terminal) return Bun.spawn([...command, ...args], { env, terminal: options.terminal });
    return Bun.spawn([...command, ...args], { env, stdin: "pipe", stdout: "pipe", stderr: "pipe" });
  }

  /** One request to the Engine API; `path` without version. */
  api(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Response> {
    const isJson = body !== undefined && !(body instanceof Uint8Array);
    return fetch(`http://inro/v1.51${path}`, {
      unix: this.socket,
      method,
      headers: { ...(isJson ? { "Content-Type": "application/json" } : {}), ...headers },
      ...(body === undefined ? {} : { body: isJson ? JSON.stringify(body) : new Uint8Array(body as Uint8Array) }),
    });
  }

  /** As {@link inro}, and the status must be 0; answers stdout without the last line end. */
  async ok(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.inro(args);
    if (code !== 0) throw new Error(`inro ${args.join(" ")}: status ${code}: ${stderr}${stdout}`);
    return stdout.replace(/\n$/, "");
  }

  /** `inro run --rm busybox sh -c SCRIPT`. */
  sh(script: string, ...flags: string[]): Promise<Result> {
    return this.inro(["run", "--rm", ...flags, "busybox", "sh", "-c", script]);
  }

  /** Imports the busybox image. */
  async busybox(): Promise<this> {
    const tar = busyboxTar(this.dir);
    await this.ok("import", tar, "busybox");
    rmSync(tar);
    return this;
  }

  /** The engine has left: its bridges are gone with it. */
  #interfacesLeft(): string[] {
    const links = this.namespace?.stack.links() ?? [];
    return links.filter(({ kind }) => kind === "bridge").map(({ name }) => `interface ${name}`);
  }

  /** Removes every container, checks that nothing is left, and ends the engine. */
  async stop(): Promise<void> {
    const ids = (await this.ok("ps", "-aq")).split("\n").filter(Boolean);
    if (ids.length > 0) await this.ok("rm", "-f", ...ids);
    const findings = await this.inro(["system", "check"]);
    await this.kill("SIGTERM");
    for (const end of this.afterEnd.splice(0).reverse()) end();
    const left = [...leftovers(this.dir), ...this.#interfacesLeft()];
    this.namespace?.close();
    rmSync(this.dir, { recursive: true, force: true });
    rmSync(scratch, { recursive: true, force: true });
    if (findings.code !== 0) throw new Error(`system check: ${findings.stdout}${findings.stderr}`);
    if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
  }
}

/** Root's: what becomes the user. */
const scratch = join(tmpdir(), `inro-as-user-${process.pid}`);

/** A user as usermod(8) and udev make one: with ids of his own, and /dev/net/tun. */
export const ROOTLESS: UserOptions = { files: SUBID_FILES, nodes: { "/dev/net/tun": [10, 200] } };

/** An engine for one test file, with the busybox image; it ends after the file's tests. */
export function engineForTests(
  extra: string[] = [],
  options: { networks?: boolean; rootless?: UserOptions } = {},
): TestEngine {
  const engine = new TestEngine(extra, options);
  // Not here and now: for a file of which no test is wanted (-t) nothing runs, afterAll neither.
  beforeAll(async () => {
    await engine.start();
    if (hasBusybox) await engine.busybox();
  });
  afterAll(() => engine.stop());
  return engine;
}

/** Mounts and keepers that still name `dir`. */
export function leftovers(dir: string): string[] {
  const found = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(dir));
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const text = readFileSync(`/proc/${pid}/cmdline`, "utf8");
      if (text.includes(dir) && /^inro-(keeper|namespaces)/.test(text)) found.push(`process ${pid}`);
    } catch {
      // Gone.
    }
  }
  return found;
}

/** A root file system of busybox-static with links for every applet, and the files that a userland has. */
export function busyboxRoot(dir: string): string {
  const root = mkdtempSync(join(dir, "root-"));
  chmodSync(root, 0o755);
  for (const name of ["bin", "etc", "tmp", "proc", "sys", "dev", "root", "home/user"])
    mkdirSync(join(root, name), { recursive: true });
  copyFileSync("/bin/busybox", join(root, "bin/busybox"));
  const applets = Bun.spawnSync(["/bin/busybox", "--list"]).stdout.toString().split("\n").filter(Boolean);
  for (const applet of applets) if (applet !== "busybox") symlinkSync("busybox", join(root, "bin", applet));
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n");
  writeFileSync(join(root, "etc/group"), "root:x:0:\nuser:x:1000:\naudio:x:29:user\nvideo:x:44:\n");
  return root;
}

export function busyboxTar(dir: string): string {
  const root = busyboxRoot(dir);
  const tar = join(dir, "busybox.tar");
  const { exitCode, stderr } = Bun.spawnSync([
    "tar",
    "-C",
    root,
    "--numeric-owner",
    "--owner=0",
    "--group=0",
    "-cf",
    tar,
    ".",
  ]);
  if (exitCode !== 0) throw new Error(`tar: ${stderr}`);
  rmSync(root, { recursive: true });
  return tar;
}

export const temporary = () => mkdtempSync(join(tmpdir(), "inro-test-"));
