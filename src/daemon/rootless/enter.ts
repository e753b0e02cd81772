import { existsSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOTLESS_UID } from "../../base/owner.ts";
import { settle } from "../../cgroups/delegated.ts";
import { detectHierarchy } from "../../cgroups/hierarchy.ts";
import { COMPILER_OPTIONS } from "../../client/compiler-options.ts";
import { sys } from "../../linux/call.ts";
import * as k from "../../linux/constants.ts";
import { scratch, str, strings } from "../../linux/ffi.ts";
import { sealedExecutable } from "../../linux/process.ts";
import { startOpener } from "../../network/rootless/opener.ts";
import { OPENER } from "../../network/rootless/outside.ts";
import { encode } from "../../program/elf.ts";
import { Program } from "../../program/ir.ts";
import { MACHINE } from "../../program/machine.ts";
import { ownIdMappings } from "../../runtime/id-maps.ts";
import { givenDescriptors } from "../compiler-options.ts";
import { findHolder, type Namespaces, openNamespaces, startHolder } from "./holder.ts";
import { connectUplink, endUplink } from "./uplink.ts";

/**
 * Makes a plain user's process start anew as root of that user's own namespaces, which are made or found (execve(2): pid,
 * descriptors and arguments stay). Nothing here has more rights than the user but newuidmap(1), newgidmap(1). Does not
 * return; throws InroError with what this machine forbids.
 */
export function enterNamespaces(execRoot: string, log: (line: string) => void): never {
  mkdirSync(execRoot, { recursive: true, mode: 0o700 });
  // Until this process ends, or is an engine: nobody else makes or ends them meanwhile.
  const lock = openSync(join(execRoot, LOCK_FILE), "a+", 0o600);
  sys("flock", execRoot, lock, LOCK_EX);
  settle(detectHierarchy());
  const holder = findHolder(execRoot) ?? makeNamespaces(execRoot, log);
  const namespaces = openNamespaces(holder);
  const opener = startOpener();
  const dns = connectUplink(holder, execRoot, log);
  for (const fd of [lock, opener.fd, ...Object.values(namespaces), ...givenDescriptors()])
    sys("fcntl", "keep", fd, k.F_SETFD, 0);
  const env = {
    ...process.env,
    ...COMPILER_OPTIONS,
    [ROOTLESS_UID]: String(process.geteuid!()),
    [LOCK]: String(lock),
    [OPENER]: `${opener.fd}:${opener.pid}`,
    ...(dns ? { [ROOTLESS_DNS]: dns } : {}),
  };
  const argv = readFileSync("/proc/self/cmdline").toString("latin1").split("\0").slice(0, -1);
  const program = enterProgram(
    namespaces,
    argv,
    Object.entries(env).map(([name, value]) => `${name}=${value}`),
  );
  const executable = sealedExecutable("inro-enter", encode(program, MACHINE));
  scratch(() => sys("execve", "inro-enter", str(`/proc/self/fd/${executable}`), strings(["inro-enter"]), strings([])));
  throw new Error("unreachable");
}

/** Beside the engine's own lock. */
export const LOCK_FILE = "namespaces.lock";
const LOCK_EX = 2;
/** The DNS server in its network namespace, which asks those of the machine. */
export const ROOTLESS_DNS = "INRO_ROOTLESS_DNS";
/** Names the descriptor of the lock. */
export const LOCK = "INRO_ROOTLESS_LOCK";

function makeNamespaces(execRoot: string, log: (line: string) => void): number {
  // Of namespaces that are gone.
  endUplink(execRoot);
  const { uids, gids, missing } = ownIdMappings();
  if (missing !== undefined) log(`rootless: one user id only, since ${missing}`);
  return startHolder(execRoot, uids, gids);
}

const STDERR = 2;
const FAILED = 125;

function enterProgram(namespaces: Namespaces, argv: readonly string[], env: readonly string[]): Program {
  const p = new Program(STDERR);
  const failed: (() => void)[] = [];
  // Nobody is there to read records.
  const step: Program["call"] = (why, call, args, options = {}) => {
    const result = p.temporary(call);
    const otherwise = p.label(`${call} failed`);
    p.call(why, call, args, { ...options, into: result, ignore: "all" });
    p.branch(why, result, "at most", -1, otherwise);
    failed.push(() => {
      const text = `inro: rootless: ${why}: ${call} failed\n`;
      p.place(otherwise);
      p.call(why, "write", [STDERR, p.text(text), text.length], { ignore: "all" });
      p.exit(why, p.bytes(new Uint8Array(new Int32Array([FAILED << 8, 0]).buffer), "status 125"));
    });
  };
  step("enter the user namespace", "setns", [namespaces.user, k.CLONE_NEWUSER]);
  step("enter the network namespace", "setns", [namespaces.net, k.CLONE_NEWNET]);
  step("enter the mount namespace", "setns", [namespaces.mnt, k.CLONE_NEWNS]);
  for (const fd of Object.values(namespaces)) step("namespaces", "close", [fd]);
  step("root of the user namespace", "setresgid", [0, 0, 0]);
  step("root of the user namespace", "setresuid", [0, 0, 0]);
  // Entering the mount namespace has led to its root.
  p.call("working directory", "chdir", [p.text(process.cwd())], { ignore: "all" });
  const own = p.text(existsSync(process.execPath) ? process.execPath : "/proc/self/exe");
  step("the engine", "execve", [own, p.strings(argv, "argv"), p.strings(env, "environment")]);
  for (const end of failed) end();
  return p;
}
