import { existsSync, realpathSync } from "node:fs";
import { changesInChild } from "../archive/command.ts";
import type { ChangedTree } from "../layers/changes.ts";
import type { Change } from "../spec/docker-api.ts";
import type { Container } from "./container.ts";
import type { Context } from "./context.ts";
import { hiddenIn, layersOf } from "./rootfs.ts";

/** Where every container has something mounted; what an image lacks of it is made, and is no change of the container's. */
const MOUNTED = ["/dev", "/proc", "/sys", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];

/** What tells a container's changes from its image and the engine's own doing; undefined before it has any. */
export function changedTree(ctx: Context, container: Container): ChangedTree | undefined {
  const { upper, lower } = layersOf(ctx, container);
  if (!existsSync(upper)) return undefined;
  const { mounts, userns } = container.record;
  return {
    upper,
    lowers: lower,
    ids: userns,
    made: {
      added: [...MOUNTED, ...mounts.map(({ destination }) => destination)],
      deleted: hiddenIn(ctx, container).map((path) => realpathSync(path)),
    },
  };
}

/** GET /containers/{id}/changes: what the container did to its image. */
export async function containerChanges(ctx: Context, container: Container, signal: AbortSignal): Promise<Change[]> {
  const tree = changedTree(ctx, container);
  return tree ? await changesInChild(tree, signal) : [];
}
