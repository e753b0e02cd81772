import { invalid } from "../../base/errors.ts";
import type { SeccompAction } from "../../spec/oci-runtime.ts";

/** Return values of a seccomp filter without their data (linux/seccomp.h, SECCOMP_RET_*). */
const RETURNS: Record<SeccompAction, number> = {
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: 0x8000_0000,
  SCMP_ACT_TRAP: 0x0003_0000,
  SCMP_ACT_ERRNO: 0x0005_0000,
  SCMP_ACT_NOTIFY: 0x7fc0_0000,
  SCMP_ACT_TRACE: 0x7ff0_0000,
  SCMP_ACT_LOG: 0x7ffc_0000,
  SCMP_ACT_ALLOW: 0x7fff_0000,
};

export const ACTIONS = Object.keys(RETURNS) as SeccompAction[];
export const KILL_PROCESS = RETURNS.SCMP_ACT_KILL_PROCESS;
export const NOTIFY = RETURNS.SCMP_ACT_NOTIFY;

const EPERM = 1;
const ENOSYS = 38;
export const ERRNO_ENOSYS = RETURNS.SCMP_ACT_ERRNO | ENOSYS;

/** The kernel cuts larger errno values to this (MAX_ERRNO). */
const MAX_ERRNO = 4095;
const MAX_TRACE_DATA = 0xffff;

/**
 * The 32-bit value a filter returns for `action`. ERRNO and TRACE carry `errnoRet`, EPERM when absent
 * (config-linux.md, "Seccomp"); with any other action it is an invalid-argument error naming `path`.
 */
export function returnValue(action: SeccompAction, errnoRet: number | undefined, path: string): number {
  if (action === "SCMP_ACT_ERRNO" || action === "SCMP_ACT_TRACE") {
    const most = action === "SCMP_ACT_ERRNO" ? MAX_ERRNO : MAX_TRACE_DATA;
    const data = errnoRet ?? EPERM;
    if (!Number.isInteger(data) || data < 0 || data > most) {
      throw invalid(`seccomp profile: ${path}: ${data} is not a number from 0 to ${most}`);
    }
    return RETURNS[action] | data;
  }
  if (errnoRet !== undefined) throw invalid(`seccomp profile: ${path}: ${action} takes no errno`);
  return RETURNS[action];
}

/** How much an action restricts, as the kernel ranks filters that disagree: the smaller the stricter (seccomp(2)). */
export function strictness(value: number): number {
  return (value | 0) >> 16;
}

/** Whether the call goes on under this action, though perhaps watched. */
export function isPermissive(value: number): boolean {
  return strictness(value) >= strictness(RETURNS.SCMP_ACT_TRACE);
}
