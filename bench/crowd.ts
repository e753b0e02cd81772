import { create, type Engine, remove, start } from "./engine.ts";
import { pss } from "./processes.ts";
import { sum } from "./statistics.ts";

/** Many containers at once. */
export interface Crowd {
  name: string;
  count: number;
  /** Milliseconds until all run, and until all are removed. */
  started: number;
  removed: number;
  /** PSS of the engine's own processes in bytes: before, with all running, after. */
  memory: { before: number; running: number; after: number };
}

/** Creates and starts `count` sleeping containers, all requests at once, and removes them the same way. */
export async function crowd(engine: Engine, count: number): Promise<Crowd> {
  const client = engine.crowd;
  const memory = () => sum(engine.pids().map(pss));
  const before = memory();
  const each = Array.from({ length: count }, (_, i) => i);
  const begin = performance.now();
  const ids = await Promise.all(
    each.map(async () => {
      const id = await create(client, ["sleep", "1000"]);
      await start(client, id);
      return id;
    }),
  );
  const started = performance.now() - begin;
  const running = memory();
  const filters = encodeURIComponent(JSON.stringify({ status: ["running"] }));
  const listed = await client.json<unknown[]>("GET", `/containers/json?filters=${filters}`);
  if (listed.length !== count) throw new Error(`${listed.length} of ${count} containers run`);
  const end = performance.now();
  await Promise.all(ids.map((id) => remove(client, id)));
  const removed = performance.now() - end;
  return { name: engine.name, count, started, removed, memory: { before, running, after: memory() } };
}
