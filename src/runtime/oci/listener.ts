import { readlinkSync } from "node:fs";
import { conflict, invalid, messageOf } from "../../base/errors.ts";
import { close } from "../../linux/file.ts";
import { pidfdGetfd, pidfdOpen } from "../../linux/process.ts";
import { connectUnix, sendWithDescriptor } from "../../linux/unix-socket.ts";
import type { Seccomp } from "../../spec/oci-runtime.ts";

/** Where a filter's listener goes. */
export interface ListenerTarget {
  path: string;
  metadata: string | undefined;
}

/** Of a section whose filter notifies. An invalid-argument error where it names no socket. */
export function listenerTarget(seccomp: Seccomp): ListenerTarget {
  if (!seccomp.listenerPath) throw invalid("config.json: linux.seccomp: SCMP_ACT_NOTIFY needs a listenerPath");
  return { path: seccomp.listenerPath, metadata: seccomp.listenerMetadata };
}

/**
 * Takes descriptor `fd`, a seccomp listener, out of process `pid`, and hands it to the agent at `target`, with the
 * container process state before it (config-linux.md, "The Container Process State"). `state` is the container's, as a
 * hook gets it. Any failure is an error.
 */
export function handOver(target: ListenerTarget, pid: number, fd: number, state: { ociVersion: string }): void {
  const listener = takeListener(pid, fd);
  try {
    const message = JSON.stringify({
      ociVersion: state.ociVersion,
      fds: ["seccompFd"],
      pid,
      ...(target.metadata !== undefined && { metadata: target.metadata }),
      state,
    });
    const socket = connectUnix(target.path);
    try {
      sendWithDescriptor(socket, Buffer.from(message), listener);
    } finally {
      close(socket);
    }
  } catch (error) {
    throw invalid(
      `linux.seccomp: unable to send seccomp fd to listenerPath ${target.path}: ${messageOf(error)}; is the agent running?`,
      error,
    );
  } finally {
    close(listener);
  }
}

function takeListener(pid: number, fd: number): number {
  const pidfd = pidfdOpen(pid);
  try {
    const listener = pidfdGetfd(pidfd, fd);
    // The number could be another process's by now, if that one was killed.
    if (readlinkSync(`/proc/self/fd/${listener}`) === "anon_inode:seccomp notify") return listener;
    close(listener);
    throw conflict(`process ${pid} was killed while it was set up`);
  } finally {
    close(pidfd);
  }
}
