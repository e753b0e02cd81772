import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { removeEmptyParent } from "../../src/cgroups/cgroup.ts";
import { cannotRun, eventually, Runtime } from "./bundle.ts";
import { cgroupFile, hierarchy, isV1, pathIn } from "./cgroup-files.ts";

const main = join(import.meta.dir, "../../src/main.ts");
const DAEMON = "/usr/bin/dbus-daemon";
const missing =
  cannotRun ??
  (existsSync("/run/systemd/system")
    ? "systemd runs here, and its place is taken in these tests"
    : [DAEMON, "/usr/bin/unshare"].filter((path) => !existsSync(path)).map((path) => `no ${path}`)[0]);

const SLICE = `inrotest${process.pid}.slice`;

describe.skipIf(missing !== undefined)(
  `systemd driver, on a real bus${missing ? ` (skipped: ${missing})` : ""}`,
  () => {
    let runtime: Runtime;
    let address: string;
    let log: string;
    let user: { address: string; calls: string };
    const processes: Bun.Subprocess[] = [];

    /** A bus, and on it what takes systemd's place; `base` is the cgroup of the manager. */
    const startBus = async (name: string, base: string) => {
      const socket = join(runtime.dir, name);
      const address = `unix:path=${socket}`;
      const calls = join(runtime.dir, `${name}.calls`);
      writeFileSync(calls, "");
      const policy = '<allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/>';
      const config = join(runtime.dir, `${name}.conf`);
      writeFileSync(
        config,
        `<busconfig><type>session</type><listen>${address}</listen><policy context="default">${policy}</policy></busconfig>`,
      );
      processes.push(Bun.spawn([DAEMON, "--nofork", "--nopidfile", `--config-file=${config}`], { stderr: "ignore" }));
      await eventually("the bus listens", () => existsSync(socket));
      const fake = join(import.meta.dir, "fake-systemd.ts");
      processes.push(
        Bun.spawn([process.execPath, fake, address, calls, base], { stdio: ["ignore", "inherit", "inherit"] }),
      );
      await eventually("systemd's place is taken", () => existsSync(`${calls}.ready`));
      return { address, calls };
    };

    beforeAll(async () => {
      runtime = new Runtime();
      ({ address, calls: log } = await startBus("bus", ""));
      user = await startBus("user", `/${SLICE}/manager`);
    });
    afterAll(async () => {
      for (const calls of [log, user.calls]) rmSync(calls);
      for (const child of processes.toReversed()) {
        child.kill();
        await child.exited;
      }
      await runtime.close();
      for (const left of ["manager/user.slice", "manager", ""]) {
        removeEmptyParent(hierarchy, `/${SLICE}/${left}`.replace(/\/$/, ""));
      }
    });

    /** The runtime where it finds a booted systemd, in a mount namespace of its own. */
    const run = async (...args: string[]) => {
      const script = 'mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && exec "$@"';
      const command = [process.execPath, main, "--root", runtime.root, "--systemd-cgroup", ...args];
      const err = join(runtime.dir, "err");
      const child = Bun.spawn(["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", ...command], {
        stdio: ["ignore", "ignore", Bun.file(err)],
        env: {
          ...process.env,
          INRO_DOOR: "inro-runtime",
          DBUS_SYSTEM_BUS_ADDRESS: address,
          DBUS_SESSION_BUS_ADDRESS: user.address,
        },
      });
      const code = await child.exited;
      return { code, err: readFileSync(err, "utf8") };
    };
    const calls = (member: string) =>
      readFileSync(log, "utf8")
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line) as [string, unknown[]])
        .filter(([name]) => name === member)
        .map(([, body]) => body);
    const bundle = (name: string, change: Parameters<Runtime["bundle"]>[1] = () => {}) =>
      runtime.bundle("exec sleep 1000", (spec) => {
        spec.linux.cgroupsPath = `${SLICE}:test:${name}`;
        change(spec);
      });

    test("a container in its scope: created, limited, changed, removed", async () => {
      const path = bundle("c1", (spec) => {
        spec.linux.resources = { ...spec.linux.resources, memory: { limit: 64 << 20 }, pids: { limit: 40 } };
        spec.annotations = { "org.systemd.property.TimeoutStopUSec": "uint64 7" };
      });
      expect(await run("create", "-b", path, "c1")).toEqual({ code: 0, err: "" });
      const { pid } = await runtime.status("c1");
      const place = `/${SLICE}/test-c1.scope`;
      for (const controller of ["memory", "pids", ""]) expect(pathIn(pid, controller)).toBe(place);
      expect(cgroupFile(pid, "pids.max", "pids.max")).toBe("40");
      const [unit, mode, given] = calls("StartTransientUnit")[0] as [string, string, [string, { value: unknown }][]];
      expect([unit, mode]).toEqual(["test-c1.scope", "replace"]);
      const properties = Object.fromEntries(given.map(([name, { value }]) => [name, value]));
      expect(properties).toMatchObject({
        ...{ Slice: SLICE, Delegate: true, DefaultDependencies: false, TasksMax: "40", TimeoutStopUSec: "7" },
        [isV1("memory") ? "MemoryLimit" : "MemoryMax"]: String(64 << 20),
      });
      // What held the place is gone: the container is alone.
      const [holder] = properties.PIDs as number[];
      await eventually("the placeholder is gone", () => !existsSync(`/proc/${holder}`));
      expect(JSON.parse(await runtime.ok("ps", "--format", "json", "c1"))).toEqual([pid]);

      await runtime.ok("start", "c1");
      expect(await run("update", "--pids-limit", "50", "--cpu-quota", "20000", "c1")).toEqual({ code: 0, err: "" });
      const [set] = calls("SetUnitProperties") as [string, boolean, [string, { value: unknown }][]][];
      expect(set?.[0]).toBe("test-c1.scope");
      expect(Object.fromEntries(set![2].map(([name, { value }]) => [name, value]))).toEqual({
        TasksMax: "50",
        CPUQuotaPerSecUSec: "200000",
      });
      expect(cgroupFile(pid, "pids.max", "pids.max")).toBe("50");

      expect(await run("delete", "--force", "c1")).toEqual({ code: 0, err: "" });
      expect(calls("StopUnit")).toEqual([["test-c1.scope", "replace"]]);
      for (const root of new Set([...hierarchy.controllers.values(), hierarchy.unified])) {
        expect(existsSync(`${root}${place}`)).toBe(false);
      }
    });

    test("of a user's manager, below its cgroup", async () => {
      const path = runtime.bundle("exec sleep 1000", (spec) => {
        spec.linux.cgroupsPath = ":test:c2";
      });
      expect(await run("--rootless", "true", "create", "-b", path, "c2")).toEqual({ code: 0, err: "" });
      const { pid } = await runtime.status("c2");
      expect(pathIn(pid, "")).toBe(`/${SLICE}/manager/user.slice/test-c2.scope`);
      expect(readFileSync(user.calls, "utf8")).toContain('"StartTransientUnit",["test-c2.scope"');
      expect(await run("delete", "--force", "c2")).toEqual({ code: 0, err: "" });
      expect(readFileSync(user.calls, "utf8")).toContain('"StopUnit",["test-c2.scope"');
    });

    test.each<[string, string, string]>([
      ["a unit that is refused", "refused", "org.freedesktop.systemd1.Refused: no such luck"],
      ["a job that fails", "broken", "systemd: start test-broken.scope: the job ended as failed"],
      ["a name that is none", "a b", '"test-a b.scope" is no name of a systemd unit'],
    ])("%s is an error, and leaves nothing", async (_, name, message) => {
      const { code, err } = await run("create", "-b", bundle(name), "bad");
      expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(message) });
      expect(existsSync(join(runtime.root, "bad"))).toBe(false);
    });

    test("a create that fails later stops the unit", async () => {
      const path = bundle("late", (spec) => {
        spec.process.args = ["/nope"];
      });
      const { code } = await run("create", "-b", path, "late");
      expect(code).toBe(1);
      expect(calls("StopUnit").map(([unit]) => unit)).toContain("test-late.scope");
      expect(existsSync(`${hierarchy.unified ?? hierarchy.controllers.get("pids")}/${SLICE}/test-late.scope`)).toBe(
        false,
      );
    });

    test.each<[string, string, string]>([
      ["a plain path", "/a/b", 'expected cgroupsPath to be of format "slice:prefix:name"'],
      ["a slice that is none", "a/b.slice:c:d", "invalid slice name: a/b.slice"],
    ])("%s is an error", async (_, path, message) => {
      const config = runtime.bundle("exit 0", (spec) => {
        spec.linux.cgroupsPath = path;
      });
      const { code, err } = await run("run", "-b", config, "wrong");
      expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(message) });
    });

    test("without systemd, and without the flag", async () => {
      const path = bundle("none");
      const none = await runtime.run(["--systemd-cgroup", "run", "-b", path, "none"]);
      expect(none).toMatchObject({ code: 1, err: expect.stringContaining("needs systemd, which does not run here") });
      const plain = await runtime.run(["run", "-b", path, "none"]);
      expect(plain).toMatchObject({ code: 1, err: expect.stringContaining("which needs --systemd-cgroup") });
      expect(existsSync(join(runtime.root, "none"))).toBe(false);
    });

    test("a bus that is not there, and one that is none", async () => {
      const wrong = address;
      address = `unix:path=${join(runtime.dir, "nobody")}`;
      const { code, err } = await run("run", "-b", bundle("nobus"), "nobus");
      expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/D-Bus unix:path=.*ENOENT/) });
      const socket = join(runtime.dir, "other");
      const other = Bun.listen({
        unix: socket,
        socket: { data: (s) => void s.write("HTTP/1.1 400 Bad Request\r\n\r\n") },
      });
      address = `unix:path=${socket}`;
      const refused = await run("run", "-b", bundle("nobus"), "nobus");
      expect(refused).toEqual({ code: 1, err: expect.stringContaining("D-Bus: not let in: HTTP/1.1 400") });
      other.stop(true);
      address = wrong;
    });
  },
);
