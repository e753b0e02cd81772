import { invalid } from "../../base/errors.ts";
import { resolveCapabilities } from "../../security/capabilities.ts";
import { type ResolvedUser, resolveUser } from "../../security/users.ts";
import type { ContainerConfig, HostConfig } from "../../spec/docker-api.ts";
import type { Capabilities, Process } from "../../spec/oci-runtime.ts";
import { environment } from "./environment.ts";
import type { HostFacts } from "./host-facts.ts";
import { mayRaiseLimits } from "./host-facts.ts";
import { hostnameOf } from "./hosts.ts";
import type { SecurityOptions } from "./security-options.ts";
import { rlimits } from "./ulimits.ts";

/** Text of a file in the container's root, symlinks kept inside; undefined if there is none. */
export type Lookup = (path: string) => string | undefined;

/** Finds `user`, and refuses ids that the container's user namespace (of `ids` ids) does not have. */
export function findUser(lookup: Lookup, user: string, groupAdd: readonly string[], ids?: number): ResolvedUser {
  const found = resolveUser({ passwd: lookup("/etc/passwd"), group: lookup("/etc/group") }, user, groupAdd);
  if (ids === undefined) return found;
  for (const [what, id] of [["uid", found.uid] as const, ...found.additionalGids.map((gid) => ["gid", gid] as const)]) {
    if (id >= ids) throw invalid(`${what} ${id} is outside of the container's user namespace, which has ${ids} ids`);
  }
  return found;
}

/** A user of one id has no groups to give: those that the image names are missing then, and only what is asked for fails. */
export const givable = (gids: readonly number[], { GroupAdd }: HostConfig, { noSetgroups }: HostFacts) =>
  noSetgroups && !GroupAdd?.length ? [] : [...gids];

/** Only root has them in effect: execve(2) would take them from another user anyway. */
export function capabilitySets(names: string[], uid: number): Capabilities {
  return uid === 0 ? { bounding: names, effective: names, permitted: names } : { bounding: names };
}

export function containerCapabilities(host: HostConfig, facts: HostFacts): string[] {
  return resolveCapabilities({
    add: host.CapAdd ?? [],
    drop: host.CapDrop ?? [],
    privileged: host.Privileged ?? false,
    available: facts.capabilities,
  });
}

/**
 * The oom_score_adj to write, if any. Below its own the engine may only go with CAP_SYS_RESOURCE (proc(5)); then a
 * default is left as it is, and a wish is invalid.
 */
function oomScoreAdj(wanted: number, facts: HostFacts): number | undefined {
  if (wanted === facts.oomScoreAdj) return undefined;
  if (wanted > facts.oomScoreAdj || mayRaiseLimits(facts)) return wanted;
  if (wanted === 0) return undefined;
  throw invalid(
    `oom score adj ${wanted} is below the engine's own ${facts.oomScoreAdj}, and the engine lacks CAP_SYS_RESOURCE`,
  );
}

/** process of the spec. Throws invalid for an unknown user and for limits that the engine cannot set. */
export function containerProcess(input: {
  id: string;
  config: ContainerConfig;
  host: HostConfig;
  lookup: Lookup;
  security: SecurityOptions;
  capabilities: string[];
  facts: HostFacts;
  /** Size of the user namespace, if there is one. */
  ids?: number;
}): Process {
  const { config, host, facts } = input;
  const user = findUser(input.lookup, config.User ?? "", host.GroupAdd ?? [], input.ids);
  const terminal = config.Tty ?? false;
  const [height = 0, width = 0] = host.ConsoleSize ?? [];
  const limits = rlimits(host.Ulimits ?? [], facts);
  const score = oomScoreAdj(host.OomScoreAdj ?? 0, facts);
  const { apparmor } = input.security;
  return {
    terminal,
    ...(terminal && height > 0 && width > 0 ? { consoleSize: { height, width } } : {}),
    user: { uid: user.uid, gid: user.gid, additionalGids: givable(user.additionalGids, host, facts) },
    args: [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])],
    env: environment(
      { hostname: hostnameOf(input.id, config, host, facts), terminal, home: user.home },
      config.Env ?? [],
    ),
    cwd: config.WorkingDir || "/",
    capabilities: capabilitySets(input.capabilities, user.uid),
    ...(limits.length > 0 ? { rlimits: limits } : {}),
    noNewPrivileges: input.security.noNewPrivileges,
    ...(apparmor && apparmor !== "unconfined" ? { apparmorProfile: apparmor } : {}),
    ...(score === undefined ? {} : { oomScoreAdj: score }),
  };
}
