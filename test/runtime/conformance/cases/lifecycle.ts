import { expect } from "bun:test";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "../../bundle.ts";
import { section } from "../case.ts";
import { namesIn } from "../context.ts";

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

const config = section("bundle.md");

export const configCases = [
  config.does("bundle: no config.json", async (c) => {
    const container = c.container("true");
    rmSync(join(container.bundle, "config.json"));
    expect((await container.launch("create")).code).not.toBe(0);
    await c.nothingLeft(container);
  }),
  config.does("bundle: config.json is no JSON", async (c) => {
    const container = c.container("true");
    c.edit(container, (text) => text.slice(0, -5));
    expect((await container.launch("create")).code).not.toBe(0);
    await c.nothingLeft(container);
  }),
  config.shows(
    "unknown properties are ignored",
    { futureThing: { a: 1 }, process: { futureThing: 1 }, linux: { futureThing: [] } },
    "echo ok",
    "ok",
    { spec: "config.md#extensibility" },
  ),
  config.shows(
    "annotations: unknown ones are ignored",
    { annotations: { "com.example.key": "", "org.opencontainers.image.stopSignal": "SIGTERM" } },
    "echo ok",
    "ok",
    { spec: "config.md#annotations" },
  ),
  config.shows("ociVersion 1.0.0", { ociVersion: "1.0.0" }, "echo ok", "ok", {
    spec: "config.md#specification-version",
  }),
  config.shows("ociVersion 1.3.0", { ociVersion: "1.3.0" }, "echo ok", "ok", {
    spec: "config.md#specification-version",
    differs: { crun: "1.8.1 knows versions up to 1.1" },
  }),
  config.refuses("ociVersion: no version", { ociVersion: "x" }, /ociVersion: "x" is no SemVer version/, {
    spec: "config.md#specification-version",
    differs: { runc: "1.1.5 does not look at it" },
  }),
  config.refuses("ociVersion: 2.0.0", { ociVersion: "2.0.0" }, /ociVersion: 2\.0\.0 is not supported/, {
    spec: "config.md#specification-version",
    differs: { runc: "1.1.5 does not look at it" },
  }),
  config.refuses("ociVersion: missing", { ociVersion: undefined }, /ociVersion: required/, {
    spec: "config.md#specification-version",
    differs: { runc: "1.1.5 does not look at it" },
  }),
  config.shows(
    "root.path: absolute",
    (s) => {
      s.root!.path = "rootfs/../rootfs";
    },
    "ls -d /bin",
    "/bin",
    { spec: "config.md#root" },
  ),
  config.refuses(
    "root.path: missing directory",
    { root: { path: "nowhere" } },
    /root\.path: .*nowhere does not exist/,
    { spec: "config.md#root" },
  ),
  config.refuses("root: missing", { root: undefined }, /root: required/, { spec: "config.md#root" }),
  config.does(
    "root.path: a file",
    async (c) => {
      const container = c.container("true", { root: { path: "file" } });
      writeFileSync(join(container.bundle, "file"), "");
      expect((await container.launch("create")).code).not.toBe(0);
      await c.nothingLeft(container);
    },
    { spec: "config.md#root" },
  ),
  config.does(
    "root.path: a symbolic link",
    async (c) => {
      const container = c.container("true", { root: { path: "link" } });
      symlinkSync("rootfs", join(container.bundle, "link"));
      expect((await container.launch("create")).code).not.toBe(0);
      await c.nothingLeft(container);
    },
    { spec: "runc", differs: { crun: "follows it" } },
  ),
  config.shows("root.readonly", {}, "touch /x 2>&1 || true", /Read-only file system/, { spec: "config.md#root" }),
  config.shows("root.readonly: false", { root: { readonly: false } }, "touch /x && ls /x", "/x", {
    spec: "config.md#root",
  }),
  config.refuses("process: a list", { process: [] }, /process: must be an object/, { spec: "config.md#process" }),
  config.refuses("mounts: an object", { mounts: {} }, /mounts: must be an array/, { spec: "config.md#mounts" }),
  config.shows("hostname", { hostname: "given" }, "hostname", "given", { spec: "config.md#hostname" }),
  config.shows("domainname", { domainname: "given.example" }, "cat /proc/sys/kernel/domainname", "given.example", {
    spec: "config.md#domainname",
    differs: { runc: "1.1.5 does not know it" },
  }),
  config.refuses(
    "hostname: without a uts namespace",
    (s) => {
      s.linux.namespaces = s.linux.namespaces!.filter(({ type }) => type !== "uts");
      s.hostname = "x";
    },
    /hostname: needs a uts namespace/,
    { spec: "runc" },
  ),
];

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
