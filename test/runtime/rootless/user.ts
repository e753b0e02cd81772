import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import * as k from "../../../src/linux/constants.ts";
import { makedev, mknodat } from "../../../src/linux/file.ts";
import { encode } from "../../../src/program/elf.ts";
import { Program } from "../../../src/program/ir.ts";
import { MACHINE } from "../../../src/program/machine.ts";
import { defaultSpec } from "../../../src/runtime/oci/spec.ts";
import type { Spec } from "../../../src/spec/oci-runtime.ts";
import { Runtime } from "../bundle.ts";

/** The suite itself is run by a plain user: then that one is it, and there is no other. */
const self = process.getuid?.() ?? 0;
export const asRoot = self === 0;

export const UID = asRoot ? 12345 : self;
export const GID = asRoot ? 12345 : process.getgid!();
/** What /etc/subuid and /etc/subgid give to the user while a test of it runs. */
export const SUBIDS = { first: 400000, count: 65536 };

/** Why no container of a plain user can run here; undefined where it can. */
export const cannotRun = !existsSync("/bin/busybox")
  ? "no static busybox at /bin/busybox"
  : switchIs("user/max_user_namespaces", "0") ||
      switchIs("kernel/unprivileged_userns_clone", "0") ||
      switchIs("kernel/apparmor_restrict_unprivileged_userns", "1")
    ? "this machine forbids user namespaces to plain users"
    : undefined;

/** Why a user has no more ids than its own here; undefined where it can have {@link SUBIDS}. */
export const noSubordinateIds = Bun.which("newuidmap") ? undefined : "no newuidmap";

function switchIs(file: string, value: string): boolean {
  try {
    return readFileSync(`/proc/sys/${file}`, "latin1").trim() === value;
  } catch {
    return false;
  }
}

/** MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC and MS_NOATIME. */
const LOCKED = 1 | 2 | 4 | 8 | 1024;

export interface UserOptions {
  uid?: number;
  gid?: number;
  /** Other files in place of the host's, in a mount namespace of the process's own: path to content. */
  files?: Readonly<Record<string, string>>;
  /** A directory that has a file system on it which is all locked: ro, nosuid, nodev, noexec, noatime. */
  locked?: string;
  /** Nodes of /dev that are everybody's in a mount namespace of the process's own, as a desktop has them: path to numbers. */
  nodes?: Readonly<Record<string, readonly [major: number, minor: number]>>;
  /** `cgroup.procs` files to join first. */
  cgroups?: readonly string[];
}

/**
 * The argv of a program that becomes the user and executes `argv`, with the given environment; `directory` is where it is
 * made. Needs root.
 */
export function asUser(
  directory: string,
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
  { uid = UID, gid = GID, files = {}, nodes = {}, cgroups = [], locked }: UserOptions = {},
): string[] {
  const p = new Program(2);
  for (const file of cgroups) {
    const fd = p.temporary("cgroup.procs");
    p.call(file, "openat", [k.AT_FDCWD, p.text(file), k.O_WRONLY | k.O_CLOEXEC, 0], { into: fd });
    p.call(file, "write", [fd, p.text("0"), 1], { expect: 1 });
  }
  const place = mkdtempSync(join(directory, "as-"));
  if (Object.keys(files).length + Object.keys(nodes).length > 0 || locked !== undefined) {
    p.call("own mounts", "unshare", [k.CLONE_NEWNS]);
    p.call("own mounts", "mount", [0, p.text("/"), 0, k.MS_REC | k.MS_PRIVATE, 0]);
    for (const [i, [path, content]] of Object.entries(files).entries()) {
      const source = join(place, `file${i}`);
      writeFileSync(source, content, { mode: 0o644 });
      p.call(path, "mount", [p.text(source), p.text(path), 0, k.MS_BIND, 0]);
    }
    for (const [i, [path, [major, minor]]] of Object.entries(nodes).entries()) {
      const source = join(place, `node${i}`);
      mknodat(k.AT_FDCWD, source, k.S_IFCHR | 0o666, makedev(major, minor));
      chmodSync(source, 0o666);
      p.call(path, "mount", [p.text(source), p.text(path), 0, k.MS_BIND, 0]);
    }
    if (locked !== undefined) p.call(locked, "mount", [p.text("tmpfs"), p.text(locked), p.text("tmpfs"), LOCKED, 0]);
  }
  p.call("user", "setgroups", [0, 0]);
  p.call("user", "setresgid", [gid, gid, gid]);
  p.call("user", "setresuid", [uid, uid, uid]);
  const entries = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  p.call("user", "execve", [p.text(argv[0]!), p.strings(argv, "argv"), p.strings(entries, "environment")]);
  const executable = join(place, "become");
  writeFileSync(executable, encode(p, MACHINE), { mode: 0o755 });
  return [executable];
}

/** The files that give the user {@link SUBIDS}, for newuidmap(1), which wants a name too. */
export const SUBID_FILES: Readonly<Record<string, string>> = {
  "/etc/passwd": `root:x:0:0::/root:/bin/sh\nplain:x:${UID}:${GID}::/:/bin/sh\n`,
  "/etc/subuid": `plain:${SUBIDS.first}:${SUBIDS.count}\n`,
  "/etc/subgid": `plain:${SUBIDS.first}:${SUBIDS.count}\n`,
};

/** As {@link Runtime}, by a plain user, on bundles that are his. */
export class PlainRuntime extends Runtime {
  options: UserOptions;
  readonly home = join(this.dir, "home");
  readonly runDir = join(this.dir, "run");
  /** This checkout's runtime, as the user can reach it. */
  readonly argv: readonly string[];

  constructor(options: UserOptions = {}) {
    super();
    this.options = options;
    for (const path of [this.home, this.runDir]) mkdirSync(path);
    this.#give(this.dir);
    this.argv = reachableCommand(this.dir);
  }

  override spawn(args: readonly string[], stdio: unknown[], env: Record<string, string> = {}) {
    return this.command([...this.argv, "--root", this.root, ...args], stdio, env);
  }

  /** Any command, as the user. */
  command(argv: readonly string[], stdio: unknown[], env: Record<string, string | undefined> = {}) {
    const whole: Record<string, string> = {};
    const wanted = {
      PATH: "/usr/local/bin:/usr/bin:/bin",
      HOME: this.home,
      XDG_RUNTIME_DIR: this.runDir,
      INRO_DOOR: "inro-runtime",
      ...env,
    };
    for (const [name, value] of Object.entries(wanted)) if (value !== undefined) whole[name] = value;
    const cmd = asRoot ? asUser(this.#scratch(), argv, whole, this.options) : [...argv];
    return Bun.spawn(cmd, { stdio: stdio as never, env: whole, cwd: this.dir }) as Bun.Subprocess;
  }

  /** Output and status of a command as the user. */
  async output(argv: readonly string[], env: Record<string, string | undefined> = {}) {
    // Files, since what is created keeps them open.
    const paths = [join(this.dir, "command.out"), join(this.dir, "command.err")] as const;
    const [out, err] = [openSync(paths[0], "w"), openSync(paths[1], "w")];
    const child = this.command(argv, ["ignore", out, err], env);
    closeSync(out);
    closeSync(err);
    const code = await child.exited;
    return { code, out: readFileSync(paths[0], "utf8"), err: readFileSync(paths[1], "utf8") };
  }

  /** The runtime without `--root`. */
  bare(args: readonly string[], env: Record<string, string | undefined> = {}) {
    return this.output([...this.argv, ...args], env);
  }

  override bundle(script: string, change: Change = () => {}): string {
    const path = super.bundle(script, (spec) => {
      const process = { ...spec.process };
      Object.assign(spec, defaultSpec(true), { process });
      spec.linux.uidMappings = [{ containerID: 0, hostID: this.options.uid ?? UID, size: 1 }];
      spec.linux.gidMappings = [{ containerID: 0, hostID: this.options.gid ?? GID, size: 1 }];
      change(spec);
    });
    this.#give(path);
    return path;
  }

  /** Everything below `path` becomes the user's. */
  #give(path: string): void {
    if (!asRoot) return;
    const { uid = UID, gid = GID } = this.options;
    chownSync(path, uid, gid);
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (entry.isDirectory()) this.#give(join(path, entry.name));
      else if (!entry.isSymbolicLink()) chownSync(join(path, entry.name), uid, gid);
    }
  }

  /** Root's, as what becomes the user is in there. */
  #scratch(): string {
    const path = join(tmpdir(), `inro-as-user-${process.pid}`);
    mkdirSync(path, { recursive: true, mode: 0o755 });
    return path;
  }

  override async close(): Promise<void> {
    const own = join(this.runDir, "inro-runtime");
    for (const id of existsSync(own) ? readdirSync(own) : []) await this.bare(["delete", "--force", id]);
    await super.close();
    rmSync(join(tmpdir(), `inro-as-user-${process.pid}`), { recursive: true, force: true });
  }
}

export type Change = (
  spec: Spec & { process: NonNullable<Spec["process"]>; linux: NonNullable<Spec["linux"]> },
) => void;

/** This checkout's program as a plain user can reach it: where it lies, or else a copy in `directory`. */
export function reachableCommand(directory: string): string[] {
  return isReachable(MAIN) && isReachable(process.execPath) ? [process.execPath, MAIN] : copyOf(directory);
}

const SOURCES = join(import.meta.dir, "../../../src");
const MAIN = join(SOURCES, "main.ts");
const MODULES = join(SOURCES, "../node_modules");

/** Whether others than the owner get to a file. A checkout may lie in a directory of root's alone. */
function isReachable(path: string): boolean {
  for (let above = dirname(path); above !== "/"; above = dirname(above)) {
    if ((statSync(above).mode & 0o001) === 0) return false;
  }
  return (statSync(path).mode & 0o004) !== 0;
}

/** What the sources import by name, with what that imports. */
function packages(): Set<string> {
  const found = new Set<string>();
  const visit = (manifest: string) => {
    const { dependencies = {} } = JSON.parse(readFileSync(manifest, "utf8")) as {
      dependencies?: Record<string, string>;
    };
    for (const name of Object.keys(dependencies)) {
      // It runs them, and is copied beside them.
      if (name === "bun" || found.has(name)) continue;
      found.add(name);
      visit(join(MODULES, name, "package.json"));
    }
  };
  visit(join(SOURCES, "../package.json"));
  return found;
}

/** The sources and what runs them, in a directory that the user gets to. */
function copyOf(directory: string): string[] {
  const sources = join(directory, "src");
  const bun = join(directory, "bun");
  // It was made at an earlier start, and may run.
  if (existsSync(bun)) return [bun, join(sources, "main.ts")];
  cpSync(SOURCES, sources, { recursive: true, filter: (path) => !path.endsWith(".test.ts") });
  for (const name of packages()) {
    cpSync(join(MODULES, name), join(directory, "node_modules", name), { recursive: true, dereference: true });
  }
  try {
    linkSync(process.execPath, bun);
  } catch {
    // Another file system.
    copyFileSync(process.execPath, bun);
  }
  return [bun, join(sources, "main.ts")];
}
