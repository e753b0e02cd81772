import type { ContainerConfig, HostConfig } from "../src/spec/docker-api.ts";
import type { ApiClient } from "./api-client.ts";
import { IMAGE } from "./busybox.ts";
import type { Subject } from "./subject.ts";

/** An engine with Docker's API that the bench started, and how its command is told to use it. */
export interface Engine {
  readonly name: string;
  /** The command with the options that lead it to this engine, up to `run`. */
  readonly command: readonly string[];
  readonly env: Record<string, string>;
  readonly client: ApiClient;
  /** A client for many requests at once. */
  readonly crowd: ApiClient;
  /** Pids of the engine's own processes, those of its containers and their keepers left out. */
  pids(): number[];
  /** `comm` of the process that stays beside each container. */
  readonly keeper: string;
}

type CreateBody = Partial<Omit<ContainerConfig, "HostConfig">> & { HostConfig?: Partial<HostConfig> };

export async function create(client: ApiClient, command: string[], more: CreateBody = {}): Promise<string> {
  const body = { Image: IMAGE, Cmd: command, ...more, HostConfig: { NetworkMode: "none", ...more.HostConfig } };
  const { Id } = await client.json<{ Id: string }>("POST", "/containers/create", body);
  return Id;
}

export async function start(client: ApiClient, id: string): Promise<void> {
  await client.call("POST", `/containers/${id}/start`);
}

export async function remove(client: ApiClient, id: string): Promise<void> {
  await client.call("DELETE", `/containers/${id}?force=1&v=1`);
}

/** Every container that the engine knows; the bench started it, so they are all the bench's. */
export async function removeAll(client: ApiClient): Promise<void> {
  let failure: unknown;
  for (let tries = 0; tries < 50; tries++) {
    const all = await client.json<{ Id: string }[]>("GET", "/containers/json?all=1");
    if (all.length === 0) return;
    // Another's removal, or a start that ^C left behind, may still be under way.
    const results = await Promise.allSettled(all.map(({ Id }) => remove(client, Id)));
    failure = results.find((result) => result.status === "rejected")?.reason;
    if (failure) await Bun.sleep(100);
  }
  throw failure;
}

/** Loads the root tar as an image. */
export async function importImage(client: ApiClient, tar: Uint8Array): Promise<void> {
  const { body } = await client.call("POST", `/images/create?fromSrc=-&repo=${IMAGE}&tag=latest`, tar);
  if (/"error"/.test(body)) throw new Error(body.trim().split("\n").at(-1));
}

/** create, start, wait, remove, one after the other on one connection. */
export function lifeCycle(engine: Engine): Subject {
  const { client } = engine;
  return {
    name: `${engine.name}, API`,
    does: "create, start, wait, remove: 4 requests, one after the other, on a connection that stays",
    async run() {
      const begin = performance.now();
      const id = await create(client, ["true"]);
      await start(client, id);
      const { StatusCode } = await client.json<{ StatusCode: number }>("POST", `/containers/${id}/wait`);
      await client.call("DELETE", `/containers/${id}`);
      const time = performance.now() - begin;
      if (StatusCode !== 0) throw new Error(`${engine.name}: the container ended with ${StatusCode}`);
      return time;
    },
  };
}
