import { existsSync } from "node:fs";
import { changes } from "../layers/changes.ts";
import type { Change } from "../spec/docker-api.ts";
import type { Container } from "./container.ts";
import type { Context } from "./context.ts";
import { layersOf } from "./rootfs.ts";

/** Where every container has something mounted; what an image lacks of it is made, and is no change of the container's. */
const MOUNTED = ["/dev", "/proc", "/sys", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];
const ADDED = 1;
const MODIFIED = 0;

/** GET /containers/{id}/changes: what the container did to its image. */
export function containerChanges(ctx: Context, container: Container): Change[] {
  const { upper, lower } = layersOf(ctx, container);
  if (!existsSync(upper)) return [];
  const places = new Set([...MOUNTED, ...container.record.mounts.map(({ destination }) => destination)]);
  const all = changes(upper, lower);
  const own = all.filter(({ Path, Kind }) => Kind !== ADDED || !places.has(Path));
  const made = all.length - own.length;
  if (made === 0) return own;
  // A directory that changed only in getting such a place is none either.
  const parents = new Set(
    all.filter((change) => !own.includes(change)).map(({ Path }) => Path.replace(/\/[^/]*$/, "")),
  );
  return own.filter(
    ({ Path, Kind }) =>
      Kind !== MODIFIED || !parents.has(Path) || own.some((other) => other.Path.startsWith(`${Path}/`)),
  );
}
