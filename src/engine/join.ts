import * as k from "../linux/constants.ts";
import { close, openat } from "../linux/file.ts";
import { pidfdSendSignal } from "../linux/process.ts";
import { NAMESPACE_FILE } from "../runtime/namespaces.ts";
import type { NamespaceType } from "../spec/oci-runtime.ts";

/**
 * Opens a namespace of a process that is known by its pidfd: its own, and not that of whoever has its number by now.
 * Undefined when it has ended. The caller closes it.
 */
export function openNamespaceOf(process: { pid: number; pidfd: number }, type: NamespaceType): number | undefined {
  let fd: number;
  try {
    fd = openat(k.AT_FDCWD, `/proc/${process.pid}/ns/${NAMESPACE_FILE[type]}`, k.O_RDONLY);
  } catch {
    return undefined;
  }
  // Only now: while this process is there, its number is nobody else's.
  if (pidfdSendSignal(process.pidfd, 0)) return fd;
  close(fd);
  return undefined;
}
