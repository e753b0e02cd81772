import { openSync } from "node:fs";
import { join } from "node:path";
import { trySys } from "../../linux/call.ts";
import { close } from "../../linux/file.ts";
import { findKeepers } from "../../runtime/running.ts";
import { LOCK, LOCK_FILE, ROOTLESS_DNS } from "./enter.ts";
import { findHolder } from "./holder.ts";
import { useNameServer } from "./names.ts";
import { endUplink } from "./uplink.ts";

const LOCK_EX_NB = 2 | 4;

/** The engine is one, with locks of its own: others may look for its namespaces from now on. */
export function entered(execRoot: string): void {
  const lock = process.env[LOCK];
  if (lock === undefined) return;
  delete process.env[LOCK];
  close(Number(lock));
  const dns = process.env[ROOTLESS_DNS];
  if (dns !== undefined) useNameServer(dns, execRoot);
}

/**
 * After the engine's end: ends the process that holds its namespaces, unless containers are in them, or another engine is
 * about to enter.
 */
export function leaveNamespaces(execRoot: string): void {
  for (const runDir of findKeepers().keys()) if (runDir.startsWith(`${execRoot}/`)) return;
  const lock = openSync(join(execRoot, LOCK_FILE), "a+", 0o600);
  try {
    if (trySys("flock", lock, LOCK_EX_NB) !== 0) return;
    const holder = findHolder(execRoot);
    endUplink(execRoot);
    if (holder !== undefined) process.kill(holder, "SIGKILL");
  } finally {
    close(lock);
  }
}
