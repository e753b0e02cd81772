import { conflict, messageOf } from "../../base/errors.ts";
import type { Cgroup } from "../../cgroups/cgroup.ts";
import { close } from "../../linux/file.ts";
import { POLLIN, poll } from "../../linux/poll.ts";
import { pidfdOpen, pidfdSendSignal } from "../../linux/process.ts";
import type { Spec } from "../../spec/oci-runtime.ts";
import { begin } from "./behalf.ts";
import { cgroupPath, openCgroup, removeOwnParent } from "./cgroup.ts";
import { isAlive, type State, StateDirectory } from "./state.ts";
import type { SystemdUnit } from "./systemd/driver.ts";

const SIGKILL = 9;
const WAIT_MS = 10_000;

/** Opens the container's own process, never another that has its number by now; undefined when it has ended. */
export function openProcess(state: State): number | undefined {
  if (state.pid === 0) return undefined;
  let fd: number;
  try {
    fd = pidfdOpen(state.pid);
  } catch {
    return undefined;
  }
  // Once it is open the number cannot come to mean another process.
  if (isAlive(state)) return fd;
  close(fd);
  return undefined;
}

/** Waits until the process of a pidfd has ended; false after `timeout` ms. Blocks. */
export function waitEnd(pidfd: number, timeout: number): boolean {
  return poll([[pidfd, POLLIN]], timeout)[0] !== 0;
}

/** Ends what runs, removes the cgroup and the state directory, runs the poststop hooks of `hooks`. */
export async function destroy(
  directory: StateDirectory,
  state: State,
  cgroup: Cgroup | undefined,
  hooks: Spec | undefined,
  warn: (message: string) => void,
): Promise<void> {
  const pidfd = openProcess(state);
  if (pidfd !== undefined) {
    pidfdSendSignal(pidfd, SIGKILL);
    // The frozen do not die.
    await cgroup?.thaw().catch(() => {});
    const ended = waitEnd(pidfd, WAIT_MS);
    close(pidfd);
    if (!ended) throw conflict(`container ${state.id}: process ${state.pid} does not end`);
  }
  if (state.systemd) await endUnit(state.systemd, cgroup, warn);
  await cgroup?.remove();
  removeOwnParent();
  if (state.rdt) (await import("../../cgroups/resctrl.ts")).leaveRdt(state.rdt);
  directory.remove();
  if (!hooks?.hooks?.poststop?.length) return;
  const { runPoststop } = await import("./hooks.ts");
  await runPoststop(hooks.hooks.poststop, state, warn);
}

/** systemd would give what is left in the unit time to end by itself. */
async function endUnit(unit: SystemdUnit, cgroup: Cgroup | undefined, warn: (message: string) => void): Promise<void> {
  cgroup?.killAll();
  const { stopUnit } = await import("./systemd/driver.ts");
  try {
    stopUnit(unit);
  } catch (error) {
    // Its cgroup goes all the same, and without it the unit.
    warn(messageOf(error));
  }
}

/** Without a state. The copy of the config comes after the cgroup: where it is, the cgroup is this container's. */
async function removeDamaged(directory: StateDirectory): Promise<void> {
  let spec: Spec | undefined;
  try {
    spec = directory.readConfig();
  } catch {
    // No config either.
  }
  // A relative path means another place for another caller.
  const given = spec?.linux?.cgroupsPath;
  if (spec && (!given || given.startsWith("/"))) await openCgroup(cgroupPath(spec, directory.id))?.remove();
  removeOwnParent();
  directory.remove();
}

export async function deleteContainer(
  root: string,
  id: string,
  force: boolean,
  warn: (message: string) => void,
): Promise<void> {
  const directory = new StateDirectory(root, id);
  if (force && !directory.exists) return;
  let state: State;
  try {
    state = directory.read();
  } catch (error) {
    // What a create that was killed left behind has no state, or none that can be read.
    if (!force) throw error;
    begin(false);
    await removeDamaged(directory);
    return;
  }
  const status = directory.status(state);
  if (!force && status !== "stopped" && status !== "created") {
    throw conflict(`cannot delete container ${id} that is not stopped: ${status}`);
  }
  let spec: Spec | undefined;
  try {
    spec = directory.readConfig();
  } catch (error) {
    if (!force) throw error;
  }
  const cgroup = openCgroup(state.cgroup);
  // A create that was killed this early may not have made it, and then who is in it is another's.
  begin(!state.systemd && !state.rdt && !spec?.hooks);
  const own = state.pid > 0 || spec !== undefined || cgroup?.pids().length === 0;
  await destroy(directory, state, own ? cgroup : undefined, spec, warn);
}
