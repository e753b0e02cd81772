import { invalid } from "../../base/errors.ts";
import type { Linux, NamespaceType } from "../../spec/oci-runtime.ts";
import type { Modes } from "./modes.ts";

/** Path of a namespace of a running container, by name or id; throws notFound or conflict otherwise. */
export type NamespaceOf = (container: string, type: NamespaceType) => string;

/** linux.namespaces: an entry without a path is a new one, with a path that of another container, none is the host's. */
export function ociNamespaces(
  modes: Modes,
  options: { user?: { path?: string }; network?: { path: string }; time: boolean; namespaceOf?: NamespaceOf },
): NonNullable<Linux["namespaces"]> {
  const namespaces: NonNullable<Linux["namespaces"]> = [{ type: "mount" }];
  for (const [type, mode] of [
    ["network", modes.network],
    ["uts", modes.uts],
    ["pid", modes.pid],
    ["ipc", modes.ipc],
    ["cgroup", modes.cgroup],
  ] as const) {
    const made = type === "network" ? options.network : undefined;
    if (mode.kind === "private") namespaces.push({ type, ...made });
    if (mode.kind !== "container") continue;
    if (!options.namespaceOf) throw invalid(`the ${type} namespace of container ${mode.id} is not available`);
    namespaces.push({ type, path: options.namespaceOf(mode.id, type) });
  }
  if (options.user) namespaces.push({ type: "user", ...(options.user.path ? { path: options.user.path } : {}) });
  if (options.time) namespaces.push({ type: "time" });
  return namespaces;
}
