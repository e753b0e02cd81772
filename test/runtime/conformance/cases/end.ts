import { expect } from "bun:test";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "../../bundle.ts";
import { section } from "../case.ts";
import { namesIn } from "../context.ts";

const ends = section("runtime.md#kill");

export const killCases = [
  ends.does("kill: SIGTERM by default", async (c) => {
    const container = await c
      .container("trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done")
      .ok("run", ["--detach"]);
    await eventually("it traps", () => container.output() === "up\n");
    await container.does("kill");
    await container.stopped();
  }),
  ...[
    ["USR1", "10"],
    ["SIGHUP", "1"],
    ["12", "12"],
    ["WINCH", "28"],
  ].map(([name, number]) =>
    ends.does(`kill: signal ${name}`, async (c) => {
      const container = await c
        .container(`trap 'echo got; exit' ${number}; echo up; while :; do sleep 0.1; done`)
        .ok("run", ["--detach"]);
      await eventually("it traps", () => container.output() === "up\n");
      await container.does("kill", [], name!);
      await container.stopped();
      expect(container.output()).toBe("up\ngot\n");
    }),
  ),
  ends.does(
    "kill: unknown signal",
    async (c) => {
      const container = await c.up();
      await container.fails("kill", [], "NOPE");
      expect(await container.status()).toBe("running");
    },
    { differs: { crun: "1.8.1 does nothing and says nothing" } },
  ),
  ends.does("kill: created", async (c) => {
    const container = await c.created();
    await container.does("kill", [], "KILL");
    await container.stopped();
  }),
  ends.does("kill: stopped", async (c) => {
    const container = await c.up();
    await container.does("kill", [], "KILL");
    await container.stopped();
    await container.fails("kill", [], "KILL");
  }),
  ends.does("kill: unknown id", async (c) => expect((await c.runtime.run(["kill", "nobody", "9"])).code).not.toBe(0)),
  ends.does("kill: no id", async (c) => expect((await c.runtime.run(["kill"])).code).not.toBe(0)),
  ends.does(
    "kill --all: every process",
    async (c) => {
      const shared = (s: { linux: { namespaces?: { type: string }[] } }) => {
        s.linux.namespaces = s.linux.namespaces!.filter(({ type }) => type !== "pid");
      };
      const container = await c
        .container("sleep 1001 & echo up; exec sleep 1001", shared as never)
        .ok("run", ["--detach"]);
      await eventually("both run", () => container.output() === "up\n");
      await container.does("kill", ["--all"], "KILL");
      await container.stopped();
      await c.nothingLeft(container).catch(() => {});
      await container.does("delete");
      await c.nothingLeft(container);
    },
    { spec: "runc", vm: true },
  ),
  ends.does(
    "delete: running",
    async (c) => {
      const container = await c.up();
      await container.fails("delete");
      expect(await container.status()).toBe("running");
    },
    { spec: "runtime.md#delete" },
  ),
  ends.does(
    "delete: stopped",
    async (c) => {
      const container = await c.up();
      await container.does("kill", [], "KILL");
      await container.stopped();
      await container.does("delete");
      await c.nothingLeft(container);
    },
    { spec: "runtime.md#delete" },
  ),
  ends.does(
    "delete: created",
    async (c) => {
      const container = await c.created();
      await container.does("delete");
      await c.nothingLeft(container);
    },
    { spec: "runc" },
  ),
  ends.does(
    "delete --force: running",
    async (c) => {
      const container = await c.up();
      const { pid } = await container.state();
      await container.does("delete", ["--force"]);
      await c.nothingLeft(container);
      await eventually(
        "it is gone",
        () => !existsSync(`/proc/${pid}`) || readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z"),
      );
    },
    { spec: "runc" },
  ),
  ends.does(
    "delete --force: paused",
    async (c) => {
      const container = await c.up();
      await container.does("pause");
      await container.does("delete", ["--force"]);
      await c.nothingLeft(container);
    },
    { spec: "runc", vm: true },
  ),
  ends.does(
    "delete --force: unknown id",
    async (c) => expect((await c.runtime.run(["delete", "--force", "nobody"])).code).toBe(0),
    { spec: "runc" },
  ),
  ends.does("delete: unknown id", async (c) => expect((await c.runtime.run(["delete", "nobody"])).code).not.toBe(0), {
    spec: "runtime.md#delete",
  }),
  ends.does("delete: no id", async (c) => expect((await c.runtime.run(["delete"])).code).not.toBe(0), {
    spec: "runtime.md#delete",
  }),
  ends.does(
    "delete removes only what create made",
    async (c) => {
      const container = c.container("touch /x; exec sleep 1000", { root: { readonly: false } });
      mkdirSync(join(container.rootfs, "mine"));
      await container.ok("run", ["--detach"]);
      await eventually("it writes", () => existsSync(join(container.rootfs, "x")));
      await container.does("delete", ["--force"]);
      expect(namesIn(container.rootfs)).toContain("mine");
      expect(namesIn(container.rootfs)).toContain("x");
      expect(existsSync(join(container.bundle, "config.json"))).toBe(true);
    },
    { spec: "runtime.md#delete" },
  ),
];
