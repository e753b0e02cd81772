import { kernelPath } from "../runtime/restricted-paths.ts";
import { READONLY_PATHS } from "../security/paths.ts";
import type { HostConfig } from "../spec/docker-api.ts";
import type { Resources } from "../spec/oci-runtime.ts";
import { hostFacts } from "./config/host-facts.ts";
import { namespaceModes } from "./config/modes.ts";
import type { Container } from "./container.ts";
import type { Context } from "./context.ts";
import { isHostImage } from "./host-image.ts";

/** What the OCI config of a kind of launch said of the cgroup: all that is needed of it before the launch. */
export interface KnownKind {
  resources: Resources;
  mayMountCgroups: boolean;
}

const CAPACITY = 64;
const known = new Map<string, KnownKind>();

export function knownKind(kind: string): KnownKind | undefined {
  return known.get(kind);
}

export function rememberKind(kind: string, what: KnownKind): void {
  if (known.size === CAPACITY) known.delete(known.keys().next().value!);
  known.set(kind, what);
}

/**
 * Launches of one kind come to the same OCI config but for the container's id: same image, same wishes, and nothing of
 * the host or of a writable layer that has a say in it. Undefined where something has: then the config is made anew.
 */
export function launchKind(
  ctx: Context,
  { record }: Container,
  lower: readonly string[],
  /** What of its network is made beforehand. */
  network: string | undefined,
  upperIsEmpty: () => boolean,
): string | undefined {
  const { config, host, imageId, mounts, userns } = record;
  if (userns || mounts.length > 0 || host.Privileged || host.Init || isHostImage(imageId)) return undefined;
  if (host.Devices?.length) return undefined;
  const modes = namespaceModes(host, ctx.hierarchy.mode);
  if (modes.network.kind !== "private" || modes.pid.kind !== "private" || modes.ipc.kind !== "private")
    return undefined;
  if (!upperIsEmpty()) return undefined;
  // An image that has come again may be mounted elsewhere.
  return `${imageId}\n${lower.join(":")}\n${network}\n${JSON.stringify(config)}\n${JSON.stringify(host)}\n${missing(host)}`;
}

/** Of what is hidden from the container, what this kernel does not have: with a module it may come. */
function missing(host: HostConfig): string {
  let list = "";
  for (const paths of [host.MaskedPaths ?? hostFacts().maskedPaths, host.ReadonlyPaths ?? READONLY_PATHS, CORE]) {
    for (const path of paths) if (kernelPath(path) === "missing") list += `${path}\n`;
  }
  return list;
}

/** What /dev/core leads to. */
const CORE = ["/proc/kcore"];
