import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { command, engineForTests, hasBusybox, isRoot } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";
const MIB = 1 << 20;
/** A day of a busy machine is INRO_LAUNCHES=20000: some five minutes. */
const LAUNCHES = Number(process.env.INRO_LAUNCHES ?? 1000);

/** Bytes of memory that a process had at most. */
const highWater = (pid: number) =>
  Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))![1]) * 1024;

describe.skipIf(why !== "")(`much of everything${why && ` (${why})`}`, async () => {
  if (why) return;
  const engine = engineForTests();
  const cgroupRoots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids"];
  /** All that a container may leave behind. */
  const state = (ids: ReadonlySet<string>) => ({
    mounts: readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .filter((line) => line.includes(engine.dir)),
    cgroups: cgroupRoots.flatMap((root) => {
      try {
        return readdirSync(join(root, "inro")).filter((name) => ids.has(name));
      } catch {
        return [];
      }
    }),
    runDirs: readdirSync(join(engine.execRoot, "containers")),
    containers: readdirSync(join(engine.dataRoot, "containers")),
    keepers: readdirSync("/proc").filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(engine.execRoot) && Number(pid) !== engine.pid;
      } catch {
        return false;
      }
    }),
  });
  const NOTHING = { mounts: [], cgroups: [], runDirs: [], containers: [], keepers: [] };
  const database = () => statSync(join(engine.dataRoot, "inro.db")).size;
  const descriptors = () => readdirSync(`/proc/${engine.pid}/fd`).length;
  /** This test's own: two a worker, and how many of them a pool keeps open is its own affair. */
  const CONNECTIONS = 20;

  const launch = async (body: object): Promise<{ id: string; code: number }> => {
    const created = await engine.api("POST", "/containers/create", { Image: "busybox", ...body });
    const { Id } = (await created.json()) as { Id: string };
    const waiting = await engine.api("POST", `/containers/${Id}/wait?condition=removed`);
    const started = await engine.api("POST", `/containers/${Id}/start`);
    if (started.status !== 204) throw new Error(`start: ${started.status} ${await started.text()}`);
    const { StatusCode } = (await waiting.json()) as { StatusCode: number };
    return { id: Id, code: StatusCode };
  };
  const launches = async (count: number, parallel: number, ids: Set<string>) => {
    let next = 0;
    const worker = async () => {
      while (next < count) {
        const code = next++ % 256;
        const HostConfig = { AutoRemove: true, ...(code % 10 === 0 ? { Memory: 64 * MIB } : {}) };
        const done = await launch({ Cmd: ["sh", "-c", `exit ${code}`], HostConfig });
        expect(done.code).toBe(code);
        ids.add(done.id);
      }
    };
    await Promise.all(Array.from({ length: parallel }, worker));
  };

  const left = "leave no descriptor, mount, cgroup, process or directory, no memory, and the database as it was";
  const limit = LAUNCHES * 120;
  test(
    `${LAUNCHES} launches ${left}`,
    async () => {
      const ids = new Set<string>();
      // The heap has found its size by then.
      await launches(LAUNCHES / 2, 10, new Set());
      const before = { descriptors: descriptors(), memory: highWater(engine.pid), database: database() };
      await launches(LAUNCHES, 10, ids);
      expect(ids.size).toBe(LAUNCHES);
      // The keepers are reaped a moment after their containers are reported.
      while (state(ids).keepers.length > 0) await Bun.sleep(5);
      expect(state(ids)).toEqual(NOTHING);
      expect(descriptors()).toBeLessThanOrEqual(before.descriptors + CONNECTIONS);
      expect(highWater(engine.pid) - before.memory).toBeLessThan(64 * MIB);
      expect(database() - before.database).toBeLessThan(MIB);
      expect((await engine.inro(["system", "check"])).stdout).toBe("no leaks found\n");
    },
    limit,
  );

  test("1 GiB through stdout: every byte arrives, engine, client and the logger keep flat", async () => {
    const line = "0123456789abcdef".repeat(63).concat("0123456789abcde");
    // A flood makes the heap as large as it needs to be; four times as much must not make it larger.
    expect((await engine.sh(`yes ${line} | head -c ${256 * MIB}`)).code).toBe(0);
    const before = highWater(engine.pid);
    const small = Bun.spawn([...command, "run", "--rm", "busybox", "true"], {
      env: { ...process.env, INRO_HOST: engine.host },
      stdio: ["ignore", "ignore", "ignore"],
    });
    await small.exited;
    const script = `yes ${line} | head -c ${1 << 30}`;
    const child = Bun.spawn([...command, "run", "--rm", "busybox", "sh", "-c", script], {
      env: { ...process.env, INRO_HOST: engine.host },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let bytes = 0;
    for await (const chunk of child.stdout) bytes += chunk.length;
    expect(await child.exited).toBe(0);
    expect(bytes).toBe(1 << 30);
    expect(highWater(engine.pid) - before).toBeLessThan(64 * MIB);
    expect(child.resourceUsage()!.maxRSS - small.resourceUsage()!.maxRSS).toBeLessThan(64 * MIB);
  });

  test("a client that does not read holds its container back, not the engine", async () => {
    const before = highWater(engine.pid);
    const flood = engine.spawn(["run", "--rm", "--name", "flood", "busybox", "yes", "x".repeat(1000)]);
    const reader = (flood.stdout as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    process.kill(flood.pid, "SIGSTOP");
    // Others are served as ever, and so is a second reader of the same container's log.
    for (let i = 0; i < 20; i++) expect(await (await engine.api("GET", "/_ping")).text()).toBe("OK");
    expect((await engine.ok("logs", "--tail", "3", "flood")).split("\n")).toHaveLength(3);
    expect(await engine.ok("run", "--rm", "busybox", "echo", "next")).toBe("next");
    expect(highWater(engine.pid) - before).toBeLessThan(64 * MIB);
    await engine.ok("kill", "flood");
    process.kill(flood.pid, "SIGCONT");
    await reader.cancel();
    await flood.exited;
    while ((await engine.ok("ps", "-aq")) !== "") await Bun.sleep(5);
  });

  test("500 connections at once, idle ones and busy ones, and all are let go of", async () => {
    await engine.api("GET", "/_ping");
    const before = descriptors();
    const idle = await Promise.all(
      Array.from(
        { length: 500 },
        () =>
          new Promise<Socket>((resolve, reject) => {
            const socket = connect(engine.socket, () => resolve(socket));
            socket.once("error", reject);
          }),
      ),
    );
    const answers = await Promise.all(
      idle.map(
        (socket, i) =>
          new Promise<string>((resolve) => {
            let text = "";
            socket.on("data", (chunk) => {
              text += chunk;
            });
            socket.on("close", () => resolve(text));
            const path = ["/_ping", "/containers/json?all=1", "/images/json", "/version", "/info"][i % 5];
            socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
          }),
      ),
    );
    expect(answers.filter((text) => text.startsWith("HTTP/1.1 200 OK\r\n"))).toHaveLength(500);
    while (descriptors() > before + 5) await Bun.sleep(5);
  });
});
