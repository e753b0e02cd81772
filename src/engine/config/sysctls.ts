import { invalid } from "../../base/errors.ts";
import type { HostConfig } from "../../spec/docker-api.ts";
import { MAX_GID } from "./host-facts.ts";
import type { Modes } from "./modes.ts";

// What namespaces(7) isolates; anything else would change the host.
const IPC = /^(kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)|fs\.mqueue\.[a-z_]+)$/;
const NAME = /^[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)+$/;
// net.FAMILY.conf|neigh.INTERFACE.X, but for the two that exist in every namespace from the start.
const INTERFACE = /^net\.[a-z0-9]+\.(?:conf|neigh)\.(?!all\.|default\.|lo\.)/;

/** A sysctl's name with dots; slashes are the other notation (sysctl.d(5)). */
function dotted(name: string): string {
  const dot = name.indexOf(".");
  const slash = name.indexOf("/");
  // Whichever comes first separates; the other one is then part of a name (an interface such as eth0.100).
  if (slash < 0 || (dot >= 0 && dot < slash)) return name;
  return name.replaceAll("/", ".");
}

/** Sysctls of a HostConfig by dotted name. Throws invalid for those that are not the container's own. */
export function checkSysctls(sysctls: Record<string, string>, modes: Modes): Record<string, string> {
  return Object.fromEntries(
    Object.entries(sysctls).map(([given, value]) => {
      const name = dotted(given);
      const shown = JSON.stringify(given.slice(0, 128));
      if (!NAME.test(name)) throw invalid(`invalid sysctl ${shown}`);
      if (/[\x00-\x08\x0a-\x1f]/.test(value) || value.length > 4096) throw invalid(`invalid value of sysctl ${shown}`);
      const net = name.startsWith("net.");
      if (!net && !IPC.test(name)) throw invalid(`sysctl ${shown} is not in a separate kernel namespace`);
      const kind = net ? "network" : "ipc";
      if (modes[kind].kind !== "private") {
        throw invalid(`sysctl ${shown} is not allowed without an own ${kind} namespace`);
      }
      if (INTERFACE.test(name)) {
        throw invalid(`interface specific sysctl ${shown} must be set on the network endpoint, not on the container`);
      }
      return [name, value];
    }),
  );
}

/**
 * linux.sysctl: docker's defaults for an own network namespace (ports below 1024 and ping for everybody in it), then
 * the user's. In a user namespace of its own the ping range cannot be set: its second bound has no id there.
 * `lastGid`: the last group that the engine's has.
 */
export function sysctls(host: HostConfig, modes: Modes, userns: boolean, lastGid = MAX_GID): Record<string, string> {
  const defaults: Record<string, string> =
    modes.network.kind === "private"
      ? {
          "net.ipv4.ip_unprivileged_port_start": "0",
          ...(userns ? {} : { "net.ipv4.ping_group_range": `0 ${lastGid}` }),
        }
      : {};
  return { ...defaults, ...checkSysctls(host.Sysctls ?? {}, modes) };
}
