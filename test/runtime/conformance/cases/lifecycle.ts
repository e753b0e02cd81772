import { expect } from "bun:test";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "../../bundle.ts";
import { section } from "../case.ts";

const life = section("runtime.md#lifecycle");

export const lifecycleCases = [
  life.does("create runs nothing of process.args", async (c) => {
    const container = await c.created("echo ran");
    expect(await container.status()).toBe("created");
    expect(container.output()).toBe("");
    await container.does("start");
    await container.stopped();
    expect(container.output()).toBe("ran\n");
  }),
  life.does("create, start, kill, delete", async (c) => {
    const container = await c.created();
    await container.does("start");
    expect(await container.status()).toBe("running");
    await container.does("kill", [], "KILL");
    await container.stopped();
    await container.does("delete");
    await c.nothingLeft(container);
    await container.fails("state");
  }),
  life.does("edits of config.json after create have no effect", async (c) => {
    const container = await c.created("echo first");
    c.edit(container, (text) => text.replace("echo first", "echo second"));
    await container.does("start");
    await container.stopped();
    expect(container.output()).toBe("first\n");
  }),
  life.does("an id is free again after delete", async (c) => {
    const container = await c.created();
    await container.does("delete", ["--force"]);
    await container.ok("create");
    expect(await container.status()).toBe("created");
  }),
  life.does("create: an id in use", async (c) => {
    const container = await c.created();
    expect((await container.launch("create")).code).not.toBe(0);
    expect(await container.status()).toBe("created");
  }),
  life.does(
    "create: an invalid id",
    async (c) => {
      const taken: string[] = [];
      for (const id of ["../x", "a/b", "a b", "", "."]) {
        const { code } = await c.runtime.run(["create", "--bundle", c.container("true").bundle, id]);
        if (code === 0) taken.push(id);
      }
      for (const id of taken) await c.runtime.run(["delete", "--force", id]);
      expect(taken).toEqual([]);
    },
    { differs: { crun: "takes spaces" } },
  ),
  life.does("create: no id", async (c) => {
    expect((await c.runtime.run(["create", "--bundle", c.container("true").bundle])).code).not.toBe(0);
  }),
  life.does("create: --bundle defaults to the working directory", async (c) => {
    const container = c.container("true");
    // The runtime's own working directory is this process's, which is no bundle.
    expect((await c.runtime.run(["create", container.id])).code).not.toBe(0);
    await c.nothingLeft(container);
  }),
  life.does("create --pid-file", async (c) => {
    const container = c.container("exec sleep 1000");
    const file = join(container.bundle, "pid");
    await container.ok("create", ["--pid-file", file]);
    expect(Number(readFileSync(file, "utf8"))).toBe((await container.state()).pid);
  }),
  life.does("start: unknown id", async (c) => expect((await c.runtime.run(["start", "nobody"])).code).not.toBe(0)),
  life.does("start: no id", async (c) => expect((await c.runtime.run(["start"])).code).not.toBe(0)),
  life.does("start: running", async (c) => {
    const container = await c.up();
    await container.fails("start");
    expect(await container.status()).toBe("running");
  }),
  life.does("start: stopped", async (c) => {
    const container = await c.up();
    await container.does("kill", [], "KILL");
    await container.stopped();
    await container.fails("start");
    expect(await container.status()).toBe("stopped");
  }),
  life.does("run: the status of the process", async (c) => expect((await c.run("exit 7")).code).toBe(7)),
  life.does("run: 128 and the signal of the process", async (c) => {
    const own = (spec: { linux: { namespaces?: { type: string }[] } }) => {
      spec.linux.namespaces = spec.linux.namespaces!.filter(({ type }) => type !== "pid");
    };
    expect((await c.run("kill -9 $$", own as never)).code).toBe(137);
  }),
  life.does("run leaves nothing", async (c) => {
    const container = c.container("true");
    expect((await container.launch("run")).code).toBe(0);
    await c.nothingLeft(container);
  }),
  life.does(
    "run --keep",
    async (c) => {
      const container = c.container("true");
      await container.launch("run", ["--keep"]);
      expect(await container.status()).toBe("stopped");
    },
    { spec: "runc", differs: { crun: "1.8.1 does not know --keep" } },
  ),
  life.does("run --detach returns while it runs", async (c) => expect(await (await c.up()).status()).toBe("running")),
  life.does(
    "run passes signals on",
    async (c) => {
      const container = c.container("trap 'echo got; exit 9' USR1; echo up; while :; do sleep 0.1; done");
      const out = openSync(container.out, "w");
      const child = c.runtime.spawn(["run", "--bundle", container.bundle, container.id], ["ignore", out, "inherit"]);
      closeSync(out);
      await eventually("it traps", () => container.output() === "up\n");
      child.kill("SIGUSR1");
      expect(await child.exited).toBe(9);
      expect(container.output()).toBe("up\ngot\n");
    },
    { spec: "runc" },
  ),
];

const state = section("runtime.md#state");

export const stateCases = [
  state.does("state: ociVersion, id, status, pid, bundle, annotations", async (c) => {
    const container = await c.created("true", { annotations: { "org.example": "1" } });
    const found = await container.state();
    expect(found).toMatchObject({
      id: container.id,
      status: "created",
      bundle: container.bundle,
      annotations: { "org.example": "1" },
    });
    expect(found.ociVersion).toMatch(/^1\.\d+\.\d+/);
    expect(existsSync(`/proc/${found.pid}`)).toBe(true);
  }),
  state.does(
    "state: rootfs, created, owner",
    async (c) => {
      const container = await c.created();
      const found = await container.state();
      expect(found.rootfs).toBe(container.rootfs);
      expect(Math.abs(Date.now() - Date.parse(found.created!))).toBeLessThan(60_000);
      expect(found).toHaveProperty("owner");
    },
    { spec: "runc", differs: { crun: "prints rootfs as the config has it" } },
  ),
  state.does("state: no pid once stopped", async (c) => {
    const container = await c.up();
    await container.does("kill", [], "KILL");
    await container.stopped();
    expect((await container.state()).pid ?? 0).toBe(0);
  }),
  state.does(
    "state: paused",
    async (c) => {
      const container = await c.up();
      await container.does("pause");
      expect(await container.status()).toBe("paused");
    },
    { spec: "runc", vm: true },
  ),
  state.does("state: unknown id", async (c) =>
    expect((await c.runtime.run(["state", "nobody"])).err).toMatch(/does not exist|no such file/i),
  ),
  state.does("state: no id", async (c) => expect((await c.runtime.run(["state"])).code).not.toBe(0)),
];
