import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cannotRun, Runtime } from "../bundle.ts";
import { Traces } from "./traces.ts";

describe.skipIf(cannotRun !== undefined)(`damaged state${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  let traces: Traces;
  let bundle: string;
  beforeAll(() => {
    runtime = new Runtime();
    traces = new Traces(runtime, "state");
    bundle = runtime.bundle("exec sleep 1000");
  });
  afterAll(() => runtime.close());

  const file = (id: string, name: string) => join(runtime.root, id, name);

  async function created(name: string): Promise<string> {
    const id = traces.id(name);
    await runtime.ok("create", "-b", bundle, id);
    return id;
  }

  /** Fails with a message, and takes nothing with it. */
  async function refused(words: RegExp, ...args: string[]): Promise<void> {
    const { code, err } = await runtime.run(args);
    expect({ args, code, err }).toEqual({
      args,
      code: args[0] === "exec" ? 255 : 1,
      err: expect.stringMatching(words),
    });
  }

  test.each<[string, (text: string) => string | Uint8Array]>([
    ["empty", () => ""],
    ["cut short", (text) => text.slice(0, text.length / 2)],
    ["no JSON", () => "pid=1"],
    ["null", () => "null"],
    ["an array", () => "[]"],
    ["an empty object", () => "{}"],
    ["zeros", () => new Uint8Array(4096)],
    ["a pid that is text", (text) => text.replace(/"pid":\d+/, '"pid":"1"')],
    ["a pid below zero", (text) => text.replace(/"pid":\d+/, '"pid":-1')],
    ["a pid with a fraction", (text) => text.replace(/"pid":\d+/, '"pid":1.5')],
    ["a pid beyond all", (text) => text.replace(/"pid":\d+/, '"pid":1e300')],
    ["a bundle that is none", (text) => text.replace(/"bundle":"[^"]*"/, '"bundle":{}')],
    ["a cgroup that is none", (text) => text.replace(/"cgroup":"[^"]*"/, '"cgroup":7')],
    ["annotations that are none", (text) => text.replace(/"annotations":\{\}/, '"annotations":null')],
  ])(
    "state.json: %s",
    async (_, change) => {
      const id = await created("file");
      const { pid } = await runtime.status(id);
      const path = file(id, "state.json");
      writeFileSync(path, change(readFileSync(path, "utf8")));
      for (const command of [["state"], ["start"], ["kill"], ["delete"], ["pause"], ["ps"]]) {
        await refused(/state\.json is damaged/, ...command, id);
      }
      await refused(/state\.json is damaged/, "exec", id, "true");
      await refused(/already exists/, "create", "-b", bundle, id);
      expect(existsSync(`/proc/${pid}`)).toBe(true);
      // The others are listed all the same.
      expect(await runtime.run(["list", "-q"])).toMatchObject({ code: 0, out: "" });
      await runtime.ok("delete", "--force", id);
      await traces.settle();
    },
    60_000,
  );

  test("config.json cut short, or gone", async () => {
    for (const damage of [(path: string) => writeFileSync(path, '{"ociVer'), unlinkSync]) {
      const id = await created("config");
      damage(file(id, "config.json"));
      await refused(/config\.json is damaged/, "start", id);
      await refused(/config\.json is damaged/, "exec", id, "true");
      expect(await runtime.status(id)).toMatchObject({ status: "created" });
      await runtime.ok("kill", id, "TERM");
      await runtime.ok("delete", "--force", id);
      await traces.settle();
    }
  }, 60_000);

  test("a pid that is another's by now is nobody", async () => {
    const id = await created("reused");
    const { pid } = await runtime.status(id);
    const path = file(id, "state.json");
    process.kill(pid, "SIGKILL");
    const bystander = Bun.spawn(["/bin/busybox", "sleep", "1000"]);
    writeFileSync(path, readFileSync(path, "utf8").replace(/"pid":\d+/, `"pid":${bystander.pid}`));
    expect(await runtime.status(id)).toMatchObject({ status: "stopped", pid: 0 });
    await refused(/not running/, "kill", id, "KILL");
    await refused(/stopped/, "exec", id, "true");
    await refused(/stopped/, "start", id);
    await runtime.ok("delete", id);
    expect(bystander.exitCode).toBeNull();
    bystander.kill();
    await bystander.exited;
    await traces.settle();
  }, 60_000);

  test("a state directory of which only the directory is there", async () => {
    const id = traces.id("bare");
    mkdirSync(join(runtime.root, id), { recursive: true });
    await refused(/does not exist/, "state", id);
    await refused(/does not exist/, "delete", id);
    await refused(/already exists/, "create", "-b", bundle, id);
    await runtime.ok("delete", "--force", id);
    await traces.settle();
  });

  test("without its FIFO it cannot be started, and can be removed", async () => {
    for (const name of ["exec.fifo", "exec.report"]) {
      const id = await created("fifo");
      unlinkSync(file(id, name));
      await refused(/./, "start", id);
      await runtime.ok("delete", "--force", id);
      await traces.settle();
    }
    // Another file in its place takes no start.
    const other = await created("file");
    rmSync(file(other, "exec.fifo"));
    writeFileSync(file(other, "exec.fifo"), "");
    await refused(/exec\.fifo is no FIFO/, "start", other);
    await runtime.ok("delete", "--force", other);
    await traces.settle();
  }, 60_000);

  test("a killed create under the id of a container of another root does not end that one", async () => {
    const id = await created("shared");
    const { pid } = await runtime.status(id);
    // What such a create has written by the time that it makes its cgroup.
    const other = join(runtime.dir, "other");
    mkdirSync(join(other, id), { recursive: true });
    const state = JSON.parse(readFileSync(file(id, "state.json"), "utf8"));
    writeFileSync(join(other, id, "state.json"), JSON.stringify({ ...state, pid: 0, startTime: "" }));
    expect(await runtime.run(["--root", other, "delete", "--force", id])).toMatchObject({ code: 0, err: "" });
    expect(existsSync(join(other, id))).toBe(false);
    expect(await runtime.status(id)).toMatchObject({ status: "created", pid });
    await runtime.ok("delete", "--force", id);
    await traces.settle();
  }, 60_000);
});
