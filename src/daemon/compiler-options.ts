import { readFileSync } from "node:fs";
import { COMPILER_OPTIONS } from "../client/compiler-options.ts";
import { trySys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import { scratch, str, strings } from "../linux/ffi.ts";

/**
 * Starts this process anew with {@link COMPILER_OPTIONS} (execve(2): pid, descriptors and arguments stay), unless it has them, or the
 * user has set one of them. Children do not inherit them. To be called before anything else is there; where it fails the
 * engine is as slow as it would have been.
 */
export function takeCompilerOptions(): void {
  const names = Object.keys(COMPILER_OPTIONS);
  if (names.some((name) => process.env[name] !== undefined)) {
    for (const name of names) delete process.env[name];
    return;
  }
  for (const fd of givenDescriptors()) trySys("fcntl", fd, k.F_SETFD, 0);
  const argv = readFileSync("/proc/self/cmdline").toString("latin1").split("\0").slice(0, -1);
  const env = Object.entries({ ...process.env, ...COMPILER_OPTIONS }).map(([name, value]) => `${name}=${value}`);
  scratch(() =>
    trySys("execve", str("/proc/self/exe"), strings(argv.map((arg) => Buffer.from(arg, "latin1"))), strings(env)),
  );
}

/** What our caller has passed on: Bun sets close-on-exec on all of it, from 4 on. */
export function givenDescriptors(): number[] {
  const { INRO_READY_FD: ready = "", LISTEN_FDS: sockets = "" } = process.env;
  const count = Math.min(Number(sockets) || 0, MOST_SOCKETS);
  return [...Array.from({ length: count }, (_, i) => FIRST_SOCKET + i), ...(ready === "" ? [] : [Number(ready)])];
}
/** sd_listen_fds(3). */
const FIRST_SOCKET = 3;
const MOST_SOCKETS = 1000;
