import { checkIntelRdt, findResctrl, joinRdt, type RdtGroup, updateRdt } from "../../cgroups/resctrl.ts";
import type { IntelRdt } from "../../spec/oci-runtime.ts";

/** `linux.intelRdt` before anything is made: what is wrong with it, or that the machine has no resctrl, is an error. */
export function planRdt(config: IntelRdt): { join(id: string, pids: readonly number[]): RdtGroup } {
  checkIntelRdt(config);
  const root = findResctrl();
  return { join: (id, pids) => joinRdt(root, config, id, pids) };
}

/** `update`: other schemata. A container that has no group gets one. What the config is then, and the group. */
export function changeRdt(
  changes: IntelRdt,
  container: { id: string; group: RdtGroup | undefined; config: IntelRdt | undefined; pids: readonly number[] },
): { config: IntelRdt; group: RdtGroup } {
  const root = findResctrl();
  const config = { ...container.config, ...changes };
  if (!container.group) return { config, group: joinRdt(root, config, container.id, container.pids) };
  updateRdt(container.group.group, changes);
  return { config, group: container.group };
}
