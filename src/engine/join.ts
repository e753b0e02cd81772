import { conflict } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close, openat } from "../linux/file.ts";
import { pidfdSendSignal } from "../linux/process.ts";
import { borrowMount } from "../runtime/borrowed-mount.ts";
import { NAMESPACE_FILE } from "../runtime/namespaces.ts";
import type { NamespaceType } from "../spec/oci-runtime.ts";
import { namespaceModes } from "./config/modes.ts";
import type { Container } from "./container.ts";
import type { Context } from "./context.ts";

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

/** Of `--ipc container:ID`: a second mount of that one's /dev/shm. The caller closes it. */
export function joinedShm(ctx: Context, { record }: Container): number | undefined {
  const { ipc } = namespaceModes(record.host, ctx.hierarchy.mode);
  if (ipc.kind !== "container") return undefined;
  refuseUnshareable(ctx.table.get(ipc.id));
  const namespace = openNamespace(ctx, ipc.id, "mount");
  try {
    return borrowMount(namespace, "/dev/shm");
  } finally {
    close(namespace);
  }
}

/** A container that others may not join, as in docker, where this is the default. */
function refuseUnshareable({ record }: Container): void {
  const mode = record.host.IpcMode || "private";
  if (mode !== "private" && mode !== "none") return;
  throw conflict(
    `cannot join IPC of container ${record.id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)`,
  );
}

/** Opens a namespace of another container, which must run, and let its IPC be shared. The caller closes it. */
export function openNamespace(ctx: Context, ref: string, type: NamespaceType): number {
  const other = ctx.table.get(ref);
  if (type === "ipc") refuseUnshareable(other);
  const fd = other.isRunning && other.running ? openNamespaceOf(other.running, type) : undefined;
  if (fd === undefined) throw conflict(`cannot join ${type} namespace of a non running container: ${other.id}`);
  return fd;
}
