import { existsSync } from "node:fs";
import { messageOf } from "../../base/errors.ts";
import { close } from "../../linux/file.ts";
import type { Created } from "./create.ts";
import { destroy, openProcess } from "./delete.ts";
import type { Notifications } from "./notify.ts";
import type { State } from "./state.ts";
import { EXEC_FIFO } from "./state.ts";

/** `run` after the container is there: starts it if it waits, and in the foreground stays until its end. */
export async function runContainer(
  created: Created,
  options: { detach: boolean; keep: boolean; warn(message: string): void },
): Promise<number> {
  const { directory, state, spec, notifications, cgroup, exit, master } = created;
  let attached: Promise<number> | undefined;
  try {
    if (!options.detach) {
      const { attend } = await import("./attend.ts");
      attached = attend(state.pid, exit!, master);
    }
    if (spec.hooks) {
      // Whatever fails here is undone below.
      const nothing = async () => {};
      const { poststart, startContainer } = await import("./start.ts");
      // With startContainer hooks it waits, as after create.
      if (existsSync(directory.file(EXEC_FIFO))) await startContainer(directory, state, spec, nothing);
      else await poststart(state, spec, nothing);
    }
  } catch (error) {
    await destroy(directory, state, cgroup, spec, options.warn);
    throw error;
  }
  if (notifications) await passOn(notifications, created, options);
  if (!attached) return 0;
  const code = await attached;
  if (!options.keep) {
    try {
      await destroy(directory, state, cgroup, spec, options.warn);
    } catch (error) {
      options.warn(messageOf(error));
    }
  }
  return code;
}

/** Detached, until it is ready; else beside it, with us as the process that the service manager watches. */
async function passOn(
  notifications: Notifications,
  { state }: Created,
  options: { detach: boolean; warn(message: string): void },
): Promise<void> {
  if (!options.detach) {
    void notifications.forward(process.pid).catch((error) => options.warn(`NOTIFY_SOCKET: ${messageOf(error)}`));
    return;
  }
  waitUntilReady(notifications, state, options.warn);
}

/** Until the container is ready or has ended. That its manager does not hear of it is no reason to end it. */
export function waitUntilReady(notifications: Notifications, state: State, warn: (message: string) => void): void {
  const pidfd = openProcess(state);
  try {
    if (pidfd !== undefined) notifications.waitReady(pidfd, state.pid);
  } catch (error) {
    warn(`NOTIFY_SOCKET: ${messageOf(error)}`);
  } finally {
    if (pidfd !== undefined) close(pidfd);
    notifications.close();
  }
}
