import { openSync } from "node:fs";
import { close } from "../src/linux/file.ts";
import { raise, reap, spawn } from "../src/linux/process.ts";
import { installed } from "./command.ts";
import { create, type Engine, lifeCycle, remove, start } from "./engine.ts";
import { processorTime, pss } from "./processes.ts";
import { median, sum } from "./statistics.ts";

/** An engine beside the many containers that it has to look after. Milliseconds, medians. */
export interface Residents {
  name: string;
  count: number;
  /** create, start, wait, remove of one: beside none, and beside all. */
  cycle: { alone: number; crowded: number };
  /** GET /containers/json. */
  list: number;
  /** `true` in one of them: exec, start to the end of its output, inspect. */
  exec: number;
  /** The same process by nsenter(1), which is the floor. */
  nsenter: number;
  /** Processor time of the engine's processes in a second in which nobody asks anything, and has not for a while. */
  idle: number;
  /** PSS of the engine's processes at the end of that, bytes. */
  memory: number;
  /** Until all of them are removed by force, 32 requests at a time. */
  removal: number;
}

/** Rounds that are not measured, as with the API's cycle: compilers have seen it all by then. */
const WARM_UP = 100;
/** Who takes long for each has had enough. */
const WARM_UP_MS = 5000;
const ROUNDS = 30;
/** Engines with a collector give memory back a while after the last request, not at it. */
const SETTLE_SECONDS = 150;
const IDLE_SECONDS = 60;

/** The median of each, in turn: what one leaves in the caches of the processor is the other's start. */
async function times(...subjects: (() => unknown)[]): Promise<number[]> {
  const enough = performance.now() + WARM_UP_MS;
  for (let i = 0; i < WARM_UP && performance.now() < enough; i++) for (const run of subjects) await run();
  const all = subjects.map((): number[] => []);
  for (let i = 0; i < ROUNDS; i++) {
    for (const [k, run] of subjects.entries()) {
      const begin = performance.now();
      await run();
      all[k]!.push(performance.now() - begin);
    }
  }
  return all.map(median);
}

/** Starts `count` sleeping containers, measures beside them, and removes them. */
export async function residents(engine: Engine, count: number): Promise<Residents> {
  const { client, crowd, name } = engine;
  const cycle = lifeCycle(engine);
  const [alone = 0] = await times(() => cycle.run());
  const each = Array.from({ length: count });
  const ids = await Promise.all(
    each.map(async () => {
      const id = await create(crowd, ["sleep", "1000"]);
      await start(crowd, id);
      return id;
    }),
  );
  const [crowded = 0] = await times(() => cycle.run());
  const [list = 0] = await times(() => client.call("GET", "/containers/json"));
  const [first = ""] = ids;
  const { State } = await client.json<{ State: { Pid: number } }>("GET", `/containers/${first}/json`);
  const [exec = 0, nsenter = 0] = await times(
    () => execTrue(engine, first),
    () => enter(State.Pid),
  );
  await Bun.sleep(SETTLE_SECONDS * 1000);
  const before = timeOf(engine);
  await Bun.sleep(IDLE_SECONDS * 1000);
  const idle = (timeOf(engine) - before) / IDLE_SECONDS;
  const memory = sum(engine.pids().map(pss));
  const begin = performance.now();
  await Promise.all(ids.map((id) => remove(crowd, id)));
  const removal = performance.now() - begin;
  return { name, count, cycle: { alone, crowded }, list, exec, nsenter, idle, memory, removal };
}

/** Clock ticks of 10 ms would say little about so little. */
const timeOf = (engine: Engine) => sum(engine.pids().map(processorTime));

async function execTrue({ client }: Engine, container: string): Promise<void> {
  const body = { Cmd: ["true"], AttachStdout: true, AttachStderr: true };
  const { Id } = await client.json<{ Id: string }>("POST", `/containers/${container}/exec`, body);
  await client.call("POST", `/exec/${Id}/start`, { Detach: false });
  const { ExitCode } = await client.json<{ ExitCode: number }>("GET", `/exec/${Id}/json`);
  if (ExitCode !== 0) throw new Error(`exec true ended with ${ExitCode}`);
}

/** nsenter(1) is spawned as inro spawns its programs. */
function enter(pid: number): void {
  const nothing = raise(openSync("/dev/null", "r+"));
  const argv = ["nsenter", "--target", String(pid), "--all", "true"];
  const fds = [0, 1, 2].map((fd) => [nothing, fd] as const);
  const status = reap(spawn({ path: installed("nsenter"), argv, fds }), 0);
  close(nothing);
  if (status !== 0) throw new Error(`nsenter: wait status ${status}`);
}
