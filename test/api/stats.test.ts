import { describe, expect, test } from "bun:test";
import { jsonStream } from "../../src/client/json-stream.ts";
import type { ContainerStats } from "../../src/spec/docker-api.ts";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`stats${why && ` (${why})`}`, () => {
  const engine = engineForTests();
  const MIB = 1 << 20;
  const once = async (name: string) =>
    (await (await engine.api("GET", `/containers/${name}/stats?stream=0&one-shot=1`)).json()) as ContainerStats;
  /** A stream, of which readings are taken one by one. */
  const follow = async (name: string) => {
    const controller = new AbortController();
    const answer = await fetch(`http://inro/containers/${name}/stats`, {
      unix: engine.socket,
      signal: controller.signal,
    });
    const readings = jsonStream<ContainerStats>(answer.body!);
    const next = async () => (await readings.next()).value as ContainerStats | undefined;
    return { next, stop: () => controller.abort() };
  };

  test("memory, processes, processor time and interfaces of one that runs", async () => {
    // Memory of its own: a variable as large as this in the shell.
    const script = "x=$(head -c 20000000 /dev/zero | tr '\\0' x); while :; do :; done";
    await engine.ok("run", "-d", "--name", "busy", "-m", "100m", "--pids-limit", "20", "busybox", "sh", "-c", script);
    let one = await once("busy");
    while ((one.memory_stats.usage ?? 0) < 20_000_000 || one.cpu_stats.cpu_usage.total_usage === 0) {
      one = await once("busy");
    }
    expect(one).toMatchObject({ name: "/busy", pids_stats: { limit: 20 }, preread: "0001-01-01T00:00:00Z" });
    expect(one.pids_stats.current).toBeGreaterThan(0);
    expect(one.memory_stats.limit).toBe(100 * MIB);
    expect(Object.keys(one.memory_stats.stats!).length).toBeGreaterThan(10);
    expect(one.cpu_stats.online_cpus).toBe(navigator.hardwareConcurrency);
    expect(one.precpu_stats.cpu_usage.total_usage).toBe(0);
    const two = (await (await engine.api("GET", "/containers/busy/stats?stream=0")).json()) as ContainerStats;
    const { cpu_stats: now, precpu_stats: before } = two;
    expect(Date.parse(two.read) - Date.parse(two.preread)).toBeGreaterThan(500);
    expect(now.cpu_usage.total_usage).toBeGreaterThan(before.cpu_usage.total_usage);
    expect(now.system_cpu_usage!).toBeGreaterThan(before.system_cpu_usage!);
    const table = await engine.ok("stats", "--no-stream");
    const [head, row] = table.split("\n");
    expect(head).toMatch(/^CONTAINER ID +NAME +CPU % +MEM USAGE \/ LIMIT +MEM % +NET I\/O +BLOCK I\/O +PIDS$/);
    expect(row).toMatch(
      /^[0-9a-f]{12} +busy +[1-9]\d*\.\d\d% +\S+MiB \/ 100MiB +\d\d\.\d\d% +\S+ \/ \S+ +\S+ \/ \S+ +\d+$/,
    );
    await engine.ok("rm", "-f", "busy");
  });

  test("a container without limits has memory too, and one of the host's network no interfaces", async () => {
    await engine.ok("run", "-d", "--name", "free", "busybox", "sleep", "1000");
    await engine.ok("run", "-d", "--name", "host", "--network", "host", "busybox", "sleep", "1000");
    const free = await once("free");
    expect(free.memory_stats.usage).toBeGreaterThan(4096);
    expect(free.pids_stats.current).toBe(1);
    expect(free.networks).toEqual(expect.any(Object));
    expect((await once("host")).networks).toBeUndefined();
    await engine.ok("rm", "-f", "free", "host");
  });

  test("streams share readings, go on over a stop and a start, and end with the container", async () => {
    const id = await engine.ok("run", "-d", "--name", "life", "busybox", "sleep", "1000");
    const [one, other] = [await follow("life"), await follow("life")];
    const first = (await one.next())!;
    expect(first.precpu_stats.cpu_usage.total_usage).toBe(0);
    const second = (await one.next())!;
    expect(second).toMatchObject({ id, preread: first.read });
    // What the other got is among what the one gets, whenever it came.
    const shared = [(await other.next())!.read, (await other.next())!.read];
    const reads = [first.read, second.read];
    while (reads.at(-1)! < shared[1]!) reads.push((await one.next())!.read);
    expect(reads).toEqual(expect.arrayContaining(shared));
    other.stop();
    await engine.ok("kill", "life");
    await engine.ok("wait", "life");
    let reading = await one.next();
    while (reading!.memory_stats.usage !== undefined) reading = await one.next();
    expect(reading!.read).toBe("0001-01-01T00:00:00Z");
    expect(await once("life")).toMatchObject({ pids_stats: {}, memory_stats: {} });
    await engine.ok("rm", "life");
    while (reading) reading = await one.next();
  });

  test("bad requests", async () => {
    const status = async (path: string) => (await engine.api("GET", path)).status;
    expect(await status("/containers/nope/stats")).toBe(404);
    expect(await status("/containers/nope/stats?stream=0")).toBe(404);
    await engine.ok("create", "--name", "idle", "busybox", "true");
    expect(await status("/containers/idle/stats?stream=1&one-shot=1")).toBe(400);
    expect(await status("/containers/idle/stats?stream=0")).toBe(200);
    const unknown = await engine.inro(["stats", "nope"]);
    expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining("No such container: nope") });
    expect(await engine.ok("stats", "--no-stream", "--format", "{{.Name}} {{.CPUPerc}} {{.PIDs}}", "idle")).toBe(
      "idle 0.00% 0",
    );
    await engine.ok("rm", "idle");
  });

  test("the live table on a terminal takes up what starts and drops what ends", async () => {
    let screen = "";
    let seen = () => {};
    const child = engine.spawn(["stats"], {
      terminal: {
        cols: 120,
        rows: 20,
        data: (_, data) => {
          screen += new TextDecoder().decode(data);
          seen();
        },
      },
    });
    const until = async (found: () => boolean) => {
      while (!found()) {
        if (child.exitCode !== null) throw new Error(`it has ended: ${screen}`);
        const more = new Promise<void>((resolve) => {
          seen = resolve;
        });
        await Promise.race([more, child.exited]);
      }
    };
    const last = () => screen.slice(screen.lastIndexOf("\x1b[H"));
    await until(() => screen.includes("CONTAINER ID"));
    await engine.ok("run", "-d", "--name", "coming", "busybox", "sleep", "1000");
    await until(() => last().includes("coming"));
    await engine.ok("rm", "-f", "coming");
    await until(() => last().includes("PIDS") && !last().includes("coming"));
    child.kill("SIGINT");
    expect(await child.exited).toBe(130);
  });
});
