import { conflict } from "../../base/errors.ts";
import { isPaused, noCgroup, openCgroup } from "./cgroup.ts";
import { StateDirectory } from "./state.ts";

/** Stops all processes of a container, or lets them go on. */
export async function setFrozen(root: string, id: string, frozen: boolean): Promise<void> {
  const directory = new StateDirectory(root, id);
  const state = directory.read();
  const status = directory.status(state);
  const cgroup = openCgroup(state.cgroup);
  if (!state.cgroup) throw noCgroup(frozen ? "pause" : "resume", id);
  if ((status !== "running" && status !== "created") || !cgroup) throw conflict(`container not running: ${status}`);
  if (!frozen && !isPaused(cgroup)) throw conflict("container not paused");
  if (frozen) await cgroup.freeze();
  else await cgroup.thaw();
}
