import {
  closeSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defaultSpec } from "../../src/runtime/oci/spec.ts";
import type { Spec } from "../../src/spec/oci-runtime.ts";

const main = join(import.meta.dir, "../../src/main.ts");
/** INRO_RUNTIME names another one, such as the built binary: quicker where the source is on a slow file system. */
const command = process.env.INRO_RUNTIME ? [process.env.INRO_RUNTIME] : [process.execPath, main];
const BUSYBOX = "/bin/busybox";

/** Why the tests of real containers cannot run here; undefined where they can. */
export const cannotRun =
  process.getuid?.() !== 0 ? "not root" : existsSync(BUSYBOX) ? undefined : "no static busybox at /bin/busybox";

export interface Result {
  code: number;
  out: string;
  err: string;
}

/** How a runtime is called. */
export interface Command {
  argv: readonly string[];
  env?: Readonly<Record<string, string>>;
}

const DOOR = { INRO_DOOR: "inro-runtime" };
const OWN: Command = { argv: command, env: DOOR };

/** A compiled inro as the runtime: several times as quick to start as the sources. */
export const compiled = (path: string): Command => ({ argv: [path], env: DOOR });

const APPLETS = [
  ..."sh cat echo sleep id ls stat hostname touch cp mkdir stty readlink test kill mount true false grep awk cut head".split(
    " ",
  ),
  ..."tr wc env pwd ionice taskset umount mknod chmod chown rm ln dd sort uniq printf mkfifo ip ps od sed nproc".split(
    " ",
  ),
];

/** A root directory for state, and bundles with busybox in them. */
export class Runtime {
  #dir: string | undefined;
  /** The numbers of its processes that run: Bun reaps them. */
  readonly children = new Set<number>();
  readonly #command: Command;
  #bundles = 0;
  #runs = 0;

  /** `command`: by default this checkout's inro-runtime. */
  constructor(command = OWN) {
    this.#command = command;
  }

  /** Made when it is asked for: a suite that is skipped has one of these, too. */
  get dir(): string {
    if (this.#dir === undefined) {
      this.#dir = mkdtempSync(join(tmpdir(), "inro-oci-"));
      copyFileSync(BUSYBOX, join(this.#dir, "busybox"));
    }
    return this.#dir;
  }

  get root(): string {
    return join(this.dir, "state");
  }

  /** Runs the runtime. `stdin` "ignore" is /dev/null; output comes by files, so that a container may hold it open. */
  async run(args: readonly string[], options: { stdin?: string; env?: Record<string, string> } = {}): Promise<Result> {
    const [out, err] = [join(this.dir, `out${this.#runs}`), join(this.dir, `err${this.#runs++}`)];
    const [outFd, errFd] = [openSync(out, "w"), openSync(err, "w")];
    const child = this.spawn(
      args,
      [options.stdin === undefined ? "ignore" : Buffer.from(options.stdin), outFd, errFd],
      options.env,
    );
    closeSync(outFd);
    closeSync(errFd);
    const code = await child.exited;
    return { code, out: readFileSync(out, "utf8"), err: readFileSync(err, "utf8") };
  }

  /** `wrap`: a command that runs the runtime's. */
  spawn(args: readonly string[], stdio: unknown[], env: Record<string, string> = {}, wrap: readonly string[] = []) {
    const child = Bun.spawn([...wrap, ...this.#command.argv, "--root", this.root, ...args], {
      stdio: stdio as never,
      env: { ...process.env, ...this.#command.env, ...env },
      onExit: ({ pid }) => void this.children.delete(pid),
    }) as Bun.Subprocess;
    this.children.add(child.pid);
    return child;
  }

  /** As {@link run}, and a failure is an error. */
  async ok(...args: string[]): Promise<string> {
    const result = await this.run(args);
    if (result.code !== 0) throw new Error(`${args.join(" ")}: ${result.code}: ${result.err}`);
    return result.out;
  }

  /** A bundle that runs `script` in a shell; `change` edits its config first. */
  bundle(script: string, change: (spec: Spec & { process: object; linux: object }) => void = () => {}): string {
    const path = join(this.dir, `bundle${this.#bundles++}`);
    const bin = join(path, "rootfs/bin");
    mkdirSync(bin, { recursive: true });
    linkSync(join(this.dir, "busybox"), join(bin, "busybox"));
    for (const name of APPLETS) symlinkSync("busybox", join(bin, name));
    const spec = defaultSpec(false);
    spec.process = { ...spec.process!, terminal: false, args: ["sh", "-c", script] };
    change(spec as never);
    writeFileSync(join(path, "config.json"), JSON.stringify(spec));
    return path;
  }

  async status(id: string): Promise<{ status: string; pid: number }> {
    return JSON.parse(await this.ok("state", id));
  }

  /** What is to be done when it is closed. */
  readonly closing: (() => void)[] = [];

  /** Ends and removes everything of it. */
  async close(): Promise<void> {
    for (const id of existsSync(this.root) ? readdirSync(this.root) : []) await this.run(["delete", "--force", id]);
    for (const step of this.closing.splice(0)) step();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** An emulated machine takes as many times longer. */
const BOUND_MS = process.env.VM_RUN ? 120_000 : 5000;

/** Waits until `test` holds. */
export async function eventually(what: string, test: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + BOUND_MS;
  do {
    if (await test()) return;
    await Bun.sleep(10);
  } while (performance.now() < end);
  throw new Error(`not within ${BOUND_MS / 1000} s: ${what}`);
}
