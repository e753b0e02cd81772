import { invalid } from "../../base/errors.ts";
import type { PlannedMount } from "./mount-plan.ts";

/** `container[:mode]` of HostConfig.VolumesFrom; mode is ro, rw, z or Z, of each kind one. Throws invalid. */
export function parseVolumesFrom(text: string): { container: string; readOnly: boolean } {
  if (text === "") throw invalid("volumes-from specification cannot be an empty string");
  const [container = "", mode = "rw"] = text.split(/:(.*)/s, 2);
  const words = mode.split(",");
  const known = (list: readonly string[]) => words.filter((word) => list.includes(word)).length;
  if (known(["ro", "rw"]) > 1 || known(["z", "Z"]) > 1 || words.length !== known(["ro", "rw", "z", "Z"])) {
    throw invalid(`invalid mode: ${mode.slice(0, 64)}`);
  }
  return { container, readOnly: words.includes("ro") };
}

/**
 * What a container that says `VolumesFrom` gets: all that the other one mounts (but what it asked for in HostConfig.Tmpfs),
 * at the same places, never more writable than there. Nothing is filled from its image.
 */
export function inheritedMounts(mounts: readonly PlannedMount[], readOnly: boolean): PlannedMount[] {
  return mounts
    .filter(({ type, mode }) => type !== "tmpfs" || mode === "")
    .map((mount) => ({
      ...mount,
      readOnly: mount.readOnly || readOnly,
      noCopy: true,
      ...(readOnly && mount.options ? { options: [...mount.options.filter((word) => word !== "rw"), "ro"] } : {}),
    }));
}
