import { expect } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { section } from "../case.ts";

const { does } = section("runc");
const NO_FEATURES = "1.8.1 has no such command";

export const inspectCases = [
  does("list", async (c) => {
    const container = await c.created();
    const lines = (await c.runtime.ok("list")).split("\n");
    expect(lines[0]).toMatch(/^\s*(ID|NAME) +PID +STATUS +BUNDLE/);
    expect(lines.find((line) => line.includes(container.id))).toMatch(/created/);
  }),
  does("list --format json", async (c) => {
    const container = await c.created("true", { annotations: { a: "b" } });
    const list = JSON.parse(await c.runtime.ok("list", "--format", "json")) as object[];
    expect(list).toContainEqual(
      expect.objectContaining({
        id: container.id,
        status: "created",
        bundle: container.bundle,
        pid: (await container.state()).pid,
      }),
    );
  }),
  does("list --quiet", async (c) => {
    const container = await c.created();
    expect((await c.runtime.ok("list", "--quiet")).split("\n")).toContain(container.id);
  }),
  does("list: unknown format", async (c) =>
    expect((await c.runtime.run(["list", "--format", "nope"])).code).not.toBe(0),
  ),
  does("ps --format json", async (c) => {
    const container = await c.up();
    expect(JSON.parse(await container.does("ps", ["--format", "json"]))).toEqual([(await container.state()).pid]);
  }),
  does("ps", async (c) => {
    const container = await c.up();
    const lines = (await container.does("ps")).trim().split("\n");
    expect(lines).toHaveLength(2);
    expect(lines[1]).toContain(String((await container.state()).pid));
  }),
  does(
    "ps: options of ps",
    async (c) => expect(await (await c.up()).does("ps", [], "-o", "pid,comm")).toMatch(/PID.*\n.*sleep/),
    { differs: { crun: "does not take them" } },
  ),
  does("ps: unknown id", async (c) => expect((await c.runtime.run(["ps", "nobody"])).code).not.toBe(0)),
  does(
    "pause, resume",
    async (c) => {
      const container = await c.up();
      await container.does("pause");
      expect(await container.status()).toBe("paused");
      await container.does("resume");
      expect(await container.status()).toBe("running");
    },
    { vm: true },
  ),
  does("pause: stopped", async (c) => {
    const container = await c.up();
    await container.does("kill", [], "KILL");
    await container.stopped();
    await container.fails("pause");
  }),
  does("resume: not paused", async (c) => void (await (await c.up()).fails("resume")), {
    differs: { crun: "does nothing" },
  }),
  does("pause: unknown id", async (c) => expect((await c.runtime.run(["pause", "nobody"])).code).not.toBe(0)),
  does("spec", async (c) => {
    const directory = join(c.runtime.dir, `spec-${c.kind}`);
    mkdirSync(directory);
    await c.runtime.ok("spec", "--bundle", directory);
    const spec = JSON.parse(readFileSync(join(directory, "config.json"), "utf8"));
    expect(spec).toMatchObject({
      process: { args: ["sh"], terminal: true, cwd: "/" },
      root: { path: "rootfs", readonly: true },
    });
    expect((await c.runtime.run(["spec", "--bundle", directory])).code).not.toBe(0);
  }),
  does("spec: runs as it is", async (c) => {
    const container = c.container("");
    const spec = join(container.bundle, "spec");
    mkdirSync(spec);
    await c.runtime.ok("spec", "--bundle", spec);
    const given = JSON.parse(readFileSync(join(spec, "config.json"), "utf8"));
    given.process.terminal = false;
    given.process.args = ["echo", "ok"];
    writeFileSync(join(container.bundle, "config.json"), JSON.stringify(given));
    expect(await container.says()).toBe("ok\n");
  }),
  does(
    "spec --rootless",
    async (c) => {
      const directory = join(c.runtime.dir, `spec-rootless-${c.kind}`);
      mkdirSync(directory);
      await c.runtime.ok("spec", "--rootless", "--bundle", directory);
      const { linux, mounts } = JSON.parse(readFileSync(join(directory, "config.json"), "utf8"));
      const types = linux.namespaces.map(({ type }: { type: string }) => type);
      expect(types).toContain("user");
      expect(types).not.toContain("network");
      expect(linux.uidMappings).toEqual([{ containerID: 0, hostID: process.getuid!(), size: 1 }]);
      expect(JSON.stringify(mounts)).not.toContain("gid=5");
    },
    { differs: { crun: "keeps the network namespace" } },
  ),
  does(
    "features",
    async (c) => {
      const features = JSON.parse(await c.runtime.ok("features"));
      expect(features).toMatchObject({
        ociVersionMin: expect.stringMatching(/^1\.0\./),
        ociVersionMax: expect.stringMatching(/^1\.\d+\./),
      });
      expect(features.hooks).toContain("createRuntime");
      expect(features.mountOptions).toContain("rbind");
      expect(features.linux.namespaces).toContain("user");
      expect(features.linux.capabilities).toContain("CAP_SYS_ADMIN");
      expect(features.linux.cgroup).toMatchObject({ v1: true, v2: true });
      expect(features.linux.seccomp).toMatchObject({
        enabled: true,
        actions: expect.arrayContaining(["SCMP_ACT_NOTIFY"]),
      });
      for (const part of ["apparmor", "selinux"]) expect(features.linux[part]).toHaveProperty("enabled");
    },
    { spec: "features.md", differs: { crun: NO_FEATURES } },
  ),
  does("--version", async (c) => {
    const { code, out } = await c.runtime.run(["--version"]);
    expect(code).toBe(0);
    expect(out).toMatch(/^\S+ version \d+\.\d+\.\d+/);
    expect(out).toMatch(/^spec: 1\./m);
  }),
  does("unknown command", async (c) => expect((await c.runtime.run(["nope"])).code).not.toBe(0)),
  does("unknown flag", async (c) => expect((await c.runtime.run(["list", "--nope"])).code).not.toBe(0)),
  does("--log, --log-format json", async (c) => {
    const container = c.container("true", { process: { args: ["nope"] } });
    const log = join(container.bundle, "log.json");
    const { code } = await container.launch("create", [], { globals: ["--log", log, "--log-format", "json"] });
    expect(code).not.toBe(0);
    const last = JSON.parse(readFileSync(log, "utf8").trim().split("\n").at(-1)!);
    expect(last).toMatchObject({
      level: "error",
      msg: expect.stringContaining("nope"),
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    });
  }),
  does("--root: / is refused", async (c) => expect((await c.runtime.run(["--root", "/", "list"])).code).not.toBe(0), {
    differs: { crun: "takes it", runc: "1.1.5 takes it for list" },
  }),
];
