import { readFileSync, readlinkSync, type Stats, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { codeOf, unavailable } from "../../base/errors.ts";
import { peerCredentials } from "../../linux/peer.ts";

/** What a front asks, as the kernel tells of it. */
export interface Call {
  pid: number;
  argv: string[];
  cwd: string;
  umask: number;
  /** Numbers of the signals that it ignores. */
  ignored: number[];
  /** XDG_RUNTIME_DIR and USER, where they are set. */
  env: Readonly<Record<string, string>>;
}

/** Whether a front sees the same machine as this process, with the same rights, and is of the same build. */
export class Identity {
  readonly #namespaces: string;
  readonly #rights: string;
  readonly #root: Stats;
  readonly #program: string;

  /**
   * `program`: the executable of this process; it may be replaced later, and then no call is for it. Unavailable where
   * rights cannot be compared.
   */
  constructor(readonly program = process.execPath) {
    this.#namespaces = namespacesOf("self");
    const status = readFileSync("/proc/self/status", "latin1");
    // Two filters cannot be told apart.
    if (field(status, "Seccomp") !== "0") throw unavailable("a seccomp filter is on this process");
    this.#rights = rightsOf("self", status);
    this.#root = statSync("/proc/self/root/");
    this.#program = buildOf(program);
  }

  /** Whether this build is still what its callers would start. */
  get current(): boolean {
    try {
      return buildOf(this.program) === this.#program;
    } catch {
      return false;
    }
  }

  /** The call of the front at the other end of `connection`; undefined where it has to do it by itself. */
  read(connection: number): Call | undefined {
    const { pid } = peerCredentials(connection);
    if (pid <= 0) return undefined;
    const of = (name: string) => readFileSync(`/proc/${pid}/${name}`, "latin1");
    try {
      const status = of("status");
      const root = statSync(`/proc/${pid}/root/`);
      if (namespacesOf(pid) !== this.#namespaces || rightsOf(pid, status) !== this.#rights) return undefined;
      if (root.dev !== this.#root.dev || root.ino !== this.#root.ino) return undefined;
      if (buildOf(join(dirname(readlinkSync(`/proc/${pid}/exe`)), "inro")) !== this.#program) return undefined;
      // All three must be there: what is missing would be taken for something else.
      for (const fd of [0, 1, 2]) readlinkSync(`/proc/${pid}/fd/${fd}`);
      const env = environment(readFileSync(`/proc/${pid}/environ`));
      if (env.LISTEN_FDS || env.NOTIFY_SOCKET || env.INRO_RESIDENT === "0") return undefined;
      return {
        pid,
        argv: readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(1, -1),
        cwd: readlinkSync(`/proc/${pid}/cwd`),
        umask: Number.parseInt(field(status, "Umask"), 8),
        ignored: signalsIn(BigInt(`0x${field(status, "SigIgn")}`)),
        env: pick(env, ["XDG_RUNTIME_DIR", "USER"]),
      };
    } catch {
      // It has ended.
      return undefined;
    }
  }
}

const NAMESPACES = "cgroup ipc mnt net pid pid_for_children time time_for_children user uts".split(" ");

const namespacesOf = (pid: number | "self"): string =>
  NAMESPACES.map((name) => readlinkSync(`/proc/${pid}/ns/${name}`)).join(" ");

/** Users, capabilities, what was given up for good, and the label of AppArmor or SELinux. */
const rightsOf = (pid: number | "self", status: string): string =>
  ["Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"]
    .map((name) => field(status, name))
    .concat(labelOf(pid))
    .join("\n");

function labelOf(pid: number | "self"): string {
  try {
    return readFileSync(`/proc/${pid}/attr/current`, "latin1");
  } catch (error) {
    // There is neither of them (proc(5), /proc/pid/attr/current).
    if (codeOf(error) === "EINVAL" || codeOf(error) === "ENOENT") return "";
    throw error;
  }
}

function field(status: string, name: string): string {
  return new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(status)?.[1]?.trim() ?? "";
}

function buildOf(program: string): string {
  const { dev, ino, size, mtimeMs } = statSync(program);
  return [dev, ino, size, mtimeMs].join(" ");
}

function environment(text: Buffer): Record<string, string | undefined> {
  const env: Record<string, string | undefined> = Object.create(null);
  for (const entry of text.toString().split("\0")) {
    const equals = entry.indexOf("=");
    if (equals > 0) env[entry.slice(0, equals)] ??= entry.slice(equals + 1);
  }
  return env;
}

function pick(env: Readonly<Record<string, string | undefined>>, names: readonly string[]): Record<string, string> {
  const picked: Record<string, string> = {};
  for (const name of names) {
    const value = env[name];
    if (value !== undefined) picked[name] = value;
  }
  return picked;
}

function signalsIn(mask: bigint): number[] {
  return Array.from({ length: 64 }, (_, i) => i + 1).filter((signal) => (mask >> BigInt(signal - 1)) & 1n);
}
