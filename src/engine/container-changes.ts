import { existsSync, realpathSync } from "node:fs";
import { ADDED, changes, DELETED, MODIFIED } from "../layers/changes.ts";
import type { Change } from "../spec/docker-api.ts";
import type { Container } from "./container.ts";
import type { Context } from "./context.ts";
import { hiddenIn, layersOf } from "./rootfs.ts";

/** Where every container has something mounted; what an image lacks of it is made, and is no change of the container's. */
const MOUNTED = ["/dev", "/proc", "/sys", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];

/** GET /containers/{id}/changes: what the container did to its image. */
export function containerChanges(ctx: Context, container: Container): Change[] {
  const { upper, lower } = layersOf(ctx, container);
  if (!existsSync(upper)) return [];
  const places = new Set([...MOUNTED, ...container.record.mounts.map(({ destination }) => destination)]);
  const hidden = new Set(hiddenIn(ctx, container).map((path) => realpathSync(path)));
  const ours = ({ Path, Kind }: Change) =>
    (Kind === ADDED && places.has(Path)) || (Kind === DELETED && hidden.has(Path));
  const all = changes(upper, lower);
  const own = all.filter((change) => !ours(change));
  if (own.length === all.length) return own;
  // A directory that changed only in getting such a place is none either.
  const parents = new Set(all.filter(ours).flatMap(({ Path }) => above(Path)));
  const onlyParent = ({ Path, Kind }: Change) => Kind === MODIFIED && parents.has(Path);
  const real = own.filter((change) => !onlyParent(change));
  return own.filter((change) => !onlyParent(change) || real.some(({ Path }) => Path.startsWith(`${change.Path}/`)));
}

function above(path: string): string[] {
  const found: string[] = [];
  for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1)) found.push(path.slice(0, end));
  return found;
}
