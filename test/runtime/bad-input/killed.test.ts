import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cannotRun, Runtime } from "../bundle.ts";
import { Traces } from "./traces.ts";

/** SIGKILL at some moment, early and late: whatever is left, `delete --force` takes it away. */
describe.skipIf(cannotRun !== undefined)(`a killed runtime${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  let traces: Traces;
  beforeAll(() => {
    runtime = new Runtime();
    traces = new Traces(runtime, "killed");
    traces.reapMeanwhile();
  });
  afterAll(() => runtime.close());

  const hooks = ["createRuntime", "startContainer"] as const;
  const bundle = () =>
    runtime.bundle("exec sleep 1000", (s) => {
      s.hooks = Object.fromEntries(hooks.map((kind) => [kind, [{ path: "/bin/sh", args: ["sh", "-c", ":"] }]]));
    });

  /** How long the command takes undisturbed, ms. */
  async function duration(args: string[]): Promise<number> {
    const from = performance.now();
    await runtime.ok(...args);
    return performance.now() - from;
  }

  async function killedAt(args: string[], ms: number): Promise<void> {
    const child = runtime.spawn(args, ["ignore", "ignore", "ignore"]);
    await Bun.sleep(ms);
    child.kill("SIGKILL");
    await child.exited;
  }

  const ROUNDS = 12;

  test("create and run", async () => {
    const path = bundle();
    for (const command of [["create"], ["run", "-d"], ["run"]]) {
      const id = traces.id(command.join(""));
      const whole = await duration(["create", "-b", path, id]);
      await runtime.ok("delete", "--force", id);
      for (let round = 0; round < ROUNDS; round++) {
        await killedAt([...command, "-b", path, id], (whole * (round + 1)) / ROUNDS);
        expect(await runtime.run(["delete", "--force", id])).toEqual({ code: 0, out: "", err: "" });
        await traces.settle();
      }
      // And the id is as good as new.
      await runtime.ok("create", "-b", path, id);
      await runtime.ok("delete", id);
    }
  }, 300_000);

  test.each(["start", "delete --force", "kill", "exec true"])(
    "%s",
    async (line) => {
      const path = bundle();
      const id = traces.id("later");
      const [command, ...rest] = line.split(" ") as [string, ...string[]];
      const args = command === "exec" ? [command, id, ...rest] : [command, ...rest, id];
      for (let round = 0; round < ROUNDS / 2; round++) {
        await runtime.ok("create", "-b", path, id);
        if (command !== "start") await runtime.ok("start", id);
        await killedAt(args, 10 + (120 * round) / ROUNDS);
        expect(await runtime.run(["delete", "--force", id])).toEqual({ code: 0, out: "", err: "" });
        await traces.settle();
      }
    },
    300_000,
  );
});
