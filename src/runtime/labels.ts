import { existsSync, readFileSync, statfsSync } from "node:fs";
import { invalid } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import type { Process } from "../spec/oci-runtime.ts";
import type { Builder } from "./builder.ts";

/**
 * process.apparmorProfile and process.selinuxLabel: what the kernel is to take with the next execve. They are written
 * through a descriptor of the host's /proc, opened before any namespace is entered. On a /proc of the container the file
 * may be another one, and the write go nowhere (CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2025-52881).
 */

type Labels = Pick<Process, "apparmorProfile" | "selinuxLabel">;

/** An invalid-argument error where the kernel cannot do what the labels say; runc's words. */
export function checkLabels({ apparmorProfile, selinuxLabel }: Labels): void {
  if (apparmorProfile && apparmorProfile !== UNCONFINED && !apparmorEnabled()) {
    throw invalid(
      `process.apparmorProfile ${JSON.stringify(apparmorProfile)}: apparmor: config provided but apparmor not supported: it is off or not in this kernel`,
    );
  }
  if (selinuxLabel && !selinuxEnabled()) {
    throw invalid(
      `process.selinuxLabel ${JSON.stringify(selinuxLabel)}: selinux label is specified in config, but selinux is disabled or not supported`,
    );
  }
}

const UNCONFINED = "unconfined";

/** As aa_is_enabled(2) looks. */
export function apparmorEnabled(): boolean {
  try {
    return readFileSync("/sys/module/apparmor/parameters/enabled", "latin1").startsWith("Y");
  } catch {
    return false;
  }
}

const SELINUX_MAGIC = 0xf97cff8c;

/** SELinux's file system is there (selinux(8)). */
export function selinuxEnabled(): boolean {
  try {
    // Node's number is signed.
    return statfsSync("/sys/fs/selinux").type >>> 0 === SELINUX_MAGIC;
  } catch {
    return false;
  }
}

/** Whether {@link applyLabels} has something to do. */
export function hasLabels(process: Labels): boolean {
  return Boolean(process.selinuxLabel) || (Boolean(process.apparmorProfile) && apparmorEnabled());
}

/** On the host: opens its /proc for what comes later. */
export function openProc(p: Builder): void {
  if (statfsSync("/proc").type !== k.PROC_SUPER_MAGIC) throw invalid("/proc: no procfs is mounted there");
  const flags = k.O_PATH | k.O_DIRECTORY | k.O_CLOEXEC;
  p.proc = p.result("the host's /proc", "proc", "openat", [k.AT_FDCWD, p.text("/proc"), flags, 0]);
}

/** In the process that will execve. {@link openProc} went before. */
export function applyLabels(p: Builder, process: Labels): void {
  const profile = process.apparmorProfile;
  if (profile && apparmorEnabled()) {
    p.writeFile(`process.apparmorProfile ${profile}`, p.proc!, attribute("exec", "apparmor"), `exec ${profile}`);
  }
  if (process.selinuxLabel) {
    p.writeFile(`process.selinuxLabel ${process.selinuxLabel}`, p.proc!, attribute("exec"), process.selinuxLabel);
  }
}

/** What `body` makes is a keyring that processes under the SELinux label may use. */
export function labelledKeyring(p: Builder, { selinuxLabel }: Labels, body: () => void): void {
  const file = attribute("keycreate");
  if (selinuxLabel) p.writeFile("process.selinuxLabel: the keyring's", p.proc!, file, selinuxLabel);
  body();
  // No bytes would be no write.
  if (selinuxLabel) p.writeFile("process.selinuxLabel: the keyring's", p.proc!, file, "\n");
}

/** Below /proc. Where several modules are stacked, AppArmor has its own directory since Linux 5.8. */
function attribute(name: string, module?: string): string {
  const own = module && `thread-self/attr/${module}/${name}`;
  return own && existsSync(`/proc/${own}`) ? own : `thread-self/attr/${name}`;
}
