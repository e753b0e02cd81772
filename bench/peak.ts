import { openSync } from "node:fs";
import { sys } from "../src/linux/call.ts";
import * as k from "../src/linux/constants.ts";
import { close, read } from "../src/linux/file.ts";
import { FIRST_FREE_FD, pipe, raise, reap, sealedExecutable, spawn } from "../src/linux/process.ts";
import { encode } from "../src/program/elf.ts";
import { Program } from "../src/program/ir.ts";
import { MACHINE } from "../src/program/machine.ts";
import { CLONE_ARGS_SIZE, cloneArgs } from "../src/runtime/namespaces.ts";
import type { Environment } from "./command.ts";

const REPORT = 3;
const RUSAGE_SIZE = 144;
/** Of ru_maxrss in struct rusage (getrusage(2)). */
const MAXRSS = 32;

/**
 * The most memory, in bytes, that a command and what it waited for had at once. By way of a process of a few pages: what
 * is spawned from a large one has its parent's size in the books.
 */
export function peakOf(argv: readonly string[], cwd: string, env: Environment, stderr: number): number {
  const p = new Program(REPORT);
  const child = p.label("command");
  const pid = p.result("peak", "pid", "clone3", [p.bytes(cloneArgs(0, false), "clone_args"), CLONE_ARGS_SIZE], {
    child,
  });
  const status = p.room(8, "status");
  const usage = p.room(RUSAGE_SIZE, "rusage");
  p.call("peak", "wait4", [pid, status, 0, usage]);
  p.call("peak", "write", [REPORT, usage, RUSAGE_SIZE]);
  p.exit("peak", status);
  p.place(child);
  p.call("peak", "chdir", [p.text(cwd)]);
  p.call("peak", "fcntl", [REPORT, 2, 1]);
  p.call("peak", "rt_sigprocmask", [2, p.bytes(new Uint8Array(8), "none"), 0, 8]);
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  p.call("peak", "execve", [p.text(argv[0]!), p.strings(argv, "argv"), p.strings(variables, "environment")]);

  const file = sealedExecutable("peak", encode(p, MACHINE));
  const [near, far] = pipe();
  const report = raise(far);
  // The caller keeps its own.
  const err = sys("fcntl", "stderr", stderr, k.F_DUPFD_CLOEXEC, FIRST_FREE_FD);
  const nothing = raise(openSync("/dev/null", "r+"));
  const open = new Set([file, near, report, err, nothing]);
  try {
    const fds = [
      [nothing, 0],
      [nothing, 1],
      [err, 2],
      [report, REPORT],
    ] as const;
    const parent = spawn({ path: `/proc/self/fd/${file}`, argv: ["peak"], fds });
    close(report);
    open.delete(report);
    const usage = Buffer.alloc(RUSAGE_SIZE);
    const n = read(near, usage);
    const status = reap(parent, 0);
    if (n !== RUSAGE_SIZE || status !== 0) throw new Error(`${argv.join(" ")}: wait status ${status}`);
    return Number(usage.readBigInt64LE(MAXRSS)) * 1024;
  } finally {
    for (const fd of open) close(fd);
  }
}
