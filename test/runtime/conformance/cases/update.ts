import { expect } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "../../bundle.ts";
import { type Case, section } from "../case.ts";
import { noController, noCriu, noResctrl, v2 } from "../machine.ts";

const { does } = section("runc");
const NO_FEATURES = "1.8.1 has no such command";

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
    { ...(missing && { missing }), ...rest },
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
