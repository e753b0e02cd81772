import { invalid } from "../../base/errors.ts";
import type { IdMapping, Spec } from "../../spec/oci-runtime.ts";
import { refusesSetgroups } from "../exec.ts";
import { losesSetgroups } from "../id-maps.ts";
import type { Plan } from "../plan.ts";

/**
 * What a process without CAP_SYS_ADMIN launches otherwise, or one that has it (`root`) in a user namespace. What no
 * plain user can have is an invalid-argument error, before anything is made.
 */
export function planPlain(spec: Spec, root: boolean): Pick<Plan, "plain" | "traceable" | "noSetgroups" | "nested"> {
  // A namespace made in one that refuses setgroups does so too.
  if (root) return { nested: true, noSetgroups: refusesSetgroups(process.pid) };
  const { namespaces = [], uidMappings = [], gidMappings = [] } = spec.linux ?? {};
  const user = namespaces.find(({ type }) => type === "user");
  if (!user) {
    throw invalid(
      "config.json: linux.namespaces: rootless containers require user namespaces: a plain user needs one to mount " +
        "and to make the others (`spec --rootless` writes such a config)",
    );
  }
  const {
    user: ids,
    user: { additionalGids = [] },
  } = spec.process!;
  const noSetgroups = user.path ? joinedRefusesSetgroups(user.path) : losesSetgroups(gidMappings);
  if (noSetgroups && additionalGids.length > 0) {
    throw invalid(
      "config.json: process.user.additionalGids: cannot set any additional groups in a rootless container with one gid " +
        "mapped: its user namespace refuses setgroups; map several, which newgidmap does",
    );
  }
  if (!user.path) {
    checkMapped("process.user.uid", ids.uid, uidMappings);
    checkMapped("process.user.gid", ids.gid, gidMappings);
  }
  for (const [i, mount] of (spec.mounts ?? []).entries()) {
    const { destination, options = [], uidMappings: uids, gidMappings: gids } = mount;
    const at = `mounts[${i}] ${destination}`;
    const mapped = uids?.length || gids?.length || options.some((option) => /^r?idmap$/.test(option));
    if (mapped) throw invalid(`config.json: ${at}: id-mapped mounts are not possible in a rootless container`);
    if (user.path) continue;
    for (const option of options) {
      const [, name, id] = /^(uid|gid)=(\d{1,10})$/.exec(option) ?? [];
      if (id !== undefined)
        checkMapped(`${at}: option ${name}`, Number(id), name === "uid" ? uidMappings : gidMappings);
    }
  }
  return { plain: true, noSetgroups, traceable: !namespaces.some(({ path }) => path) };
}

function checkMapped(what: string, id: number, mappings: readonly IdMapping[]): void {
  if (mappings.some((m) => id >= m.containerID && id < m.containerID + m.size)) return;
  throw invalid(`config.json: ${what}: ${id} is not mapped in the container's user namespace`);
}

/** Only a path in /proc tells whose namespace it is. */
function joinedRefusesSetgroups(path: string): boolean {
  const pid = /^\/proc\/(\d+|self)\/ns\/user$/.exec(path)?.[1];
  if (pid === undefined) return true;
  return refusesSetgroups(pid === "self" ? process.pid : Number(pid));
}
