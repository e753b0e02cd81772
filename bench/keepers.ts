import { IMAGE } from "./busybox.ts";
import { create, type Engine, remove, start } from "./engine.ts";
import { named, pss } from "./processes.ts";
import { median } from "./statistics.ts";
import type { Podman } from "./subjects/podman.ts";
import type { Workspace } from "./workspace.ts";

/** What stays beside each idle container. */
export interface Keepers {
  name: string;
  process: string;
  /** How many were found beside the containers. */
  count: number;
  /** Median of their PSS, in bytes. */
  pss: number;
}

const IDLE = ["sleep", "1000"];

function weigh(name: string, process: string, path: string): Keepers {
  const pids = named(process, path);
  return { name, process, count: pids.length, pss: median(pids.map(pss)) };
}

/** Starts `count` idle containers, weighs their keepers, and removes them. */
export async function engineKeepers(engine: Engine, count: number, workspace: Workspace): Promise<Keepers> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) {
    const id = await create(engine.client, IDLE);
    ids.push(id);
    await start(engine.client, id);
  }
  const found = weigh(engine.name, engine.keeper, workspace.name);
  for (const id of ids) await remove(engine.client, id);
  return found;
}

export async function podmanKeepers(podman: Podman, count: number, workspace: Workspace): Promise<Keepers> {
  for (let i = 0; i < count; i++) await podman.run("run", "--detach", ...podman.runOptions, IMAGE, ...IDLE);
  const found = weigh("podman", "conmon", workspace.name);
  await podman.run("rm", "--all", "--force", "--time", "0");
  return found;
}
