import { expect } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "../../bundle.ts";
import { type Case, section } from "../case.ts";
import { noController, noCriu, noResctrl, v2 } from "../machine.ts";

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
  does("unknown command", async (c) => expect((await c.runtime.run(["nope"])).code).not.toBe(0), {
    differs: { runc: "prints its help and ends with 0", ...{} },
  }),
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

/** A running container, a change by `update`, and where it must be: on v1 and on v2 `controller/file=text`. */
const updated = (
  name: string,
  flags: string[],
  v1: string | undefined,
  second: string | undefined,
  rest: Partial<Case> = {},
) => {
  const [, path = "", text = ""] = /^([^=]*)=(.*)$/.exec((v2 ? second : v1) ?? "") ?? [];
  const [controller = "", file = ""] = path.split("/");
  const missing = path === "" ? `nothing of it in cgroup ${v2 ? "v2" : "v1"}` : noController(path, controller);
  return does(
    `update ${name}`,
    async (c) => {
      const container = await c.up();
      await container.does("update", flags);
      expect(readFileSync(await container.cgroupFile(controller, file), "utf8").trim()).toBe(text);
    },
    { ...(missing && { missing }), ...(second && { vm: true as const }), ...rest },
  );
};

export const updateCases = [
  updated("--memory", ["--memory", "67108864"], "memory/memory.limit_in_bytes=67108864", "memory/memory.max=67108864"),
  updated(
    "--memory-reservation",
    ["--memory-reservation", "33554432"],
    "memory/memory.soft_limit_in_bytes=33554432",
    "memory/memory.low=33554432",
  ),
  updated(
    "--memory-swap",
    ["--memory", "67108864", "--memory-swap", "134217728"],
    "memory/memory.memsw.limit_in_bytes=134217728",
    "memory/memory.swap.max=67108864",
  ),
  updated("--cpu-share", ["--cpu-share", "512"], "cpu/cpu.shares=512", "cpu/cpu.weight=59"),
  updated("--cpu-quota", ["--cpu-quota", "50000"], "cpu/cpu.cfs_quota_us=50000", "cpu/cpu.max=50000 100000"),
  updated(
    "--cpu-period",
    ["--cpu-period", "50000", "--cpu-quota", "10000"],
    "cpu/cpu.cfs_period_us=50000",
    "cpu/cpu.max=10000 50000",
  ),
  updated(
    "--cpu-burst",
    ["--cpu-quota", "50000", "--cpu-burst", "10000"],
    "cpu/cpu.cfs_burst_us=10000",
    "cpu/cpu.max.burst=10000",
    { differs: { crun: "1.8.1 does not know it", runc: "1.1.5 does not know it" } },
  ),
  updated("--cpu-idle", ["--cpu-idle", "1"], "cpu/cpu.idle=1", "cpu/cpu.idle=1", {
    differs: { crun: "1.8.1 does not know it", runc: "1.1.5 does not know it" },
  }),
  updated("--cpuset-cpus", ["--cpuset-cpus", "0"], "cpuset/cpuset.cpus=0", "cpuset/cpuset.cpus=0"),
  updated("--cpuset-mems", ["--cpuset-mems", "0"], "cpuset/cpuset.mems=0", "cpuset/cpuset.mems=0"),
  updated("--pids-limit", ["--pids-limit", "19"], "pids/pids.max=19", "pids/pids.max=19"),
  updated("--blkio-weight", ["--blkio-weight", "500"], "blkio/blkio.weight=500", "io/io.weight=default 4950"),
  does(
    "update --resources FILE",
    async (c) => {
      const container = await c.up();
      const file = join(container.bundle, "resources.json");
      writeFileSync(file, JSON.stringify({ pids: { limit: 21 }, memory: { limit: 64 << 20 } }));
      await container.does("update", ["--resources", file]);
      expect(readFileSync(await container.cgroupFile("pids", "pids.max"), "utf8")).toBe("21\n");
    },
    { vm: true },
  ),
  does("update --resources -", async (c) => {
    const container = await c.up();
    const { code, err } = await c.runtime.run(["update", "--resources", "-", container.id], {
      stdin: '{"pids":{"limit":22}}',
    });
    expect({ code, err }).toMatchObject({ code: 0 });
    expect(readFileSync(await container.cgroupFile("pids", "pids.max"), "utf8")).toBe("22\n");
  }),
  does("update: no number", async (c) => void (await (await c.up()).fails("update", ["--pids-limit", "x"]))),
  does(
    "update: stopped",
    async (c) => {
      const container = await c.up();
      await container.does("kill", [], "KILL");
      await container.stopped();
      await container.fails("update", ["--pids-limit", "5"]);
    },
    { differs: { crun: "writes to the empty cgroup" } },
  ),
  does("update: unknown id", async (c) =>
    expect((await c.runtime.run(["update", "--pids-limit", "5", "nobody"])).code).not.toBe(0),
  ),
  does(
    "update --l3-cache-schema: no resctrl",
    async (c) => void (await (await c.up()).fails("update", ["--l3-cache-schema", "L3:0=f"])),
    noResctrl ? {} : { missing: "resctrl is there" },
  ),
];

export const eventCases = [
  does(
    "events --stats",
    async (c) => {
      const container = await c.up();
      const { type, id, data } = JSON.parse(await container.does("events", ["--stats"]));
      expect({ type, id }).toEqual({ type: "stats", id: container.id });
      expect(data.cpu.usage.total).toBeGreaterThan(0);
      expect(data.memory.usage.usage).toBeGreaterThan(0);
      expect(data.pids.current).toBe(1);
    },
    { vm: true, differs: { crun: NO_FEATURES } },
  ),
  does(
    "events: every interval",
    async (c) => {
      const container = await c.up();
      const child = c.runtime.spawn(["events", "--interval", "100ms", container.id], ["ignore", "pipe", "inherit"]);
      const reader = (child.stdout as ReadableStream<Uint8Array>).getReader();
      let text = "";
      await eventually("two lines", async () => {
        text += Buffer.from((await reader.read()).value ?? []).toString();
        return text.split("\n").length > 2;
      });
      child.kill();
      expect(JSON.parse(text.split("\n")[0]!)).toMatchObject({ type: "stats", id: container.id });
    },
    { differs: { crun: NO_FEATURES } },
  ),
  does(
    "events: stopped",
    async (c) => {
      const container = await c.up();
      await container.does("kill", [], "KILL");
      await container.stopped();
      await container.fails("events", ["--stats"]);
    },
    {},
  ),
  does(
    "checkpoint, restore",
    async (c) => {
      const container = await c.up();
      const images = join(container.bundle, "images");
      await container.does("checkpoint", ["--image-path", images]);
      await c.runtime.ok("restore", "--detach", "--bundle", container.bundle, "--image-path", images, container.id);
      expect(await container.status()).toBe("running");
    },
    { missing: noCriu, differs: { crun: "Debian builds it without CRIU" } },
  ),
  does("checkpoint: unknown id", async (c) => expect((await c.runtime.run(["checkpoint", "nobody"])).code).not.toBe(0)),
  does("checkpoint: stopped", async (c) => {
    const container = await c.up();
    await container.does("kill", [], "KILL");
    await container.stopped();
    await container.fails("checkpoint", ["--image-path", join(container.bundle, "images")]);
    expect(existsSync(join(container.bundle, "images/inventory.img"))).toBe(false);
  }),
];
