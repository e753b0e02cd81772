import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { sys, trySys } from "../../linux/call.ts";
import * as k from "../../linux/constants.ts";
import { room, scratch } from "../../linux/ffi.ts";
import { close } from "../../linux/file.ts";
import { beginConnect } from "../../linux/tcp.ts";
import type { HealthConfig } from "../../spec/docker-api.ts";
import { engineInTest, isRoot } from "../testing/engine.ts";

const MS = 1e6;
const check = (Test: string[], more: HealthConfig = {}) => ({
  Healthcheck: { Test, Interval: 20 * MS, Retries: 2, Timeout: 5000 * MS, ...more },
});
const hasBusybox = existsSync("/bin/busybox");

describe.skipIf(!isRoot)("health checks (needs root)", () => {
  const inTest = engineInTest();
  const health = async (id: string) => (await inTest.state(id)).Health!;

  test("a command: starting, healthy, unhealthy, healthy again; each an event, a state and a filter", async () => {
    const id = await inTest.create("sleep 1000", check(["CMD-SHELL", "echo looked; test ! -e /sick"]), "watched");
    expect((await inTest.state(id)).Health).toBeUndefined();
    await inTest.containers.start(id);
    expect(await health(id)).toEqual({ Status: "starting", FailingStreak: 0, Log: [] });
    const shown = async () => {
      const [one] = await inTest.containers.list();
      return `${one?.Health?.Status} ${one?.Status}`;
    };
    expect(await shown()).toMatch(/^starting Up .* \(health: starting\)$/);
    await inTest.event(id, "health_status: healthy");
    expect((await health(id)).Log[0]).toMatchObject({ ExitCode: 0, Output: "looked\n" });
    expect(await shown()).toMatch(/^healthy Up .* \(healthy\)$/);
    const found = async (value: string) =>
      (await inTest.containers.list({ filters: new Map([["health", [value]]]) })).map(({ Id }) => Id);
    expect([await found("healthy"), await found("unhealthy"), await found("none")]).toEqual([[id], [], []]);
    await expect(found("well")).rejects.toMatchObject({ kind: "invalid" });

    const { Id: sick } = await inTest.engine.execs.create(id, { Cmd: ["touch", "/sick"] });
    await inTest.engine.execs.start(sick, { Detach: true });
    await inTest.event(id, "health_status: unhealthy");
    expect(await health(id)).toMatchObject({ Status: "unhealthy" });
    expect((await health(id)).FailingStreak).toBeGreaterThanOrEqual(2);
    expect(await found("unhealthy")).toEqual([id]);
    const { Id: well } = await inTest.engine.execs.create(id, { Cmd: ["rm", "/sick"] });
    await inTest.engine.execs.start(well, { Detach: true });
    await inTest.event(id, "health_status: healthy", 2);
    while ((await health(id)).Log.length < 5) await Bun.sleep(5);

    const of = (kind: string) => inTest.events(id).filter(({ Action }) => Action.startsWith(kind));
    const [created] = of("exec_create: /bin/sh -c echo looked; test ! -e /sick");
    const [started] = of("exec_start: /bin/sh -c echo looked; test ! -e /sick");
    const died = of("exec_die").find(({ Actor }) => Actor.Attributes.execID === created?.Actor.Attributes.execID);
    expect(started?.Actor.Attributes.execID).toBe(created?.Actor.Attributes.execID);
    expect(died?.Actor.Attributes).toMatchObject({ exitCode: "0", name: "watched", image: "host" });

    await inTest.containers.stop(id, { timeout: 0 });
    expect(await health(id)).toMatchObject({ Status: "unhealthy" });
    expect((await inTest.containers.list({ all: true }))[0]?.Health).toEqual({ Status: "none", FailingStreak: 0 });
    await inTest.containers.start(id);
    expect(await health(id)).toMatchObject({ Status: "starting", FailingStreak: 0 });
    await inTest.remove(id);
  });

  test("one that takes too long is killed with what it started; output is cut at 4096 bytes", async () => {
    const slow = await inTest.run(
      "sleep 1000",
      check(["CMD-SHELL", "echo begun; sleep 77777; true"], { Timeout: 1000 * MS, Retries: 1 }),
    );
    await inTest.event(slow, "health_status: unhealthy");
    expect((await health(slow)).Log[0]).toMatchObject({
      ExitCode: -1,
      Output: "Health check exceeded timeout (1s): begun\n",
    });
    const { Pid } = await inTest.state(slow);
    await inTest.containers.update(slow, {});
    await inTest.remove(slow);
    expect(existsSync(`/proc/${Pid}`)).toBe(false);

    const loud = await inTest.run("sleep 1000", check(["CMD-SHELL", "yes | head -c 100000"]));
    await inTest.event(loud, "health_status: healthy");
    const { Output } = (await health(loud)).Log[0]!;
    expect([Output.length, Output.slice(-5)]).toEqual([4099, "y\n..."]);
    const absent = await inTest.run("sleep 1000", check(["CMD", "/no/such/program"], { Retries: 1 }));
    await inTest.event(absent, "health_status: unhealthy");
    expect((await health(absent)).Log[0]).toMatchObject({ ExitCode: -1 });
    expect((await health(absent)).Log[0]!.Output).toContain("/no/such/program");
    await inTest.remove(loud, absent);
  });

  test("what a killed probe had started is killed too", async () => {
    const id = await inTest.run(
      "sleep 1000",
      check(["CMD-SHELL", "sleep 77777 & wait"], { Timeout: 50 * MS, Interval: 10 * MS, Retries: 1 }),
    );
    await inTest.event(id, "exec_die", 3);
    const { Processes } = await inTest.containers.top(id);
    expect(Processes.filter((line) => line.join(" ").includes("77777")).length).toBeLessThanOrEqual(2);
    await inTest.remove(id);
  });

  describe.skipIf(!hasBusybox)("probes by the engine (needs busybox-static)", () => {
    const serve = (address: string) => `mkdir /www; echo yes > /www/ok; exec busybox httpd -f -p ${address} -h /www`;

    const fiveChecks = async (id: string) => {
      const last = (await health(id)).Log.at(-1)!.Start;
      while ((await health(id)).Log[0]!.Start <= last) await Bun.sleep(5);
    };

    test("HTTP: 200 is healthy, 404 and nobody there are not", async () => {
      const ok = await inTest.run(serve("127.0.0.1:8080"), check(["HTTP", "http://127.0.0.1:8080/ok"]));
      const missing = await inTest.run(serve("127.0.0.1:8080"), check(["HTTP", "http://127.0.0.1:8080/no"]));
      const refused = await inTest.run("exec sleep 1000", check(["HTTP", "http://127.0.0.1:8080/ok"]));
      await inTest.event(ok, "health_status: healthy");
      await Promise.all([missing, refused].map((id) => inTest.event(id, "health_status: unhealthy")));
      expect((await health(ok)).Log.at(-1)).toMatchObject({ ExitCode: 0, Output: "GET /ok: 200 OK" });
      expect((await health(missing)).Log.at(-1)).toMatchObject({ ExitCode: 1, Output: "GET /no: 404 Not Found" });
      expect((await health(refused)).Log.at(-1)).toMatchObject({
        ExitCode: 1,
        Output: expect.stringMatching(/^connect 127\.0\.0\.1:8080: (ECONNREFUSED|ENETUNREACH)$/),
      });
      // No probe leaves a descriptor behind.
      const before = readdirSync("/proc/self/fd").length;
      for (let round = 0; round < 4; round++) await fiveChecks(missing);
      expect(readdirSync("/proc/self/fd").length).toBeLessThan(before + 15);
      await inTest.remove(ok, missing, refused);
    });

    test("TCP: an open port is healthy, IPv6 too; a server that says nothing is no HTTP", async () => {
      const open = await inTest.run(serve("[::1]:5432"), check(["TCP", "[::1]:5432"]));
      const closed = await inTest.run(serve("127.0.0.1:5432"), check(["TCP", "127.0.0.1:5433"]));
      const mute = await inTest.run(
        "exec busybox nc -ll -p 5432 -e sleep 77777",
        check(["HTTP", "http://127.0.0.1:5432/"], { Timeout: 100 * MS }),
      );
      const wrong = await inTest.run(
        "exec busybox nc -ll -p 5432 -e echo nonsense",
        check(["HTTP", "http://127.0.0.1:5432/"]),
      );
      const endless = await inTest.run(
        "exec busybox nc -ll -p 5432 -e cat /dev/zero",
        check(["HTTP", "http://127.0.0.1:5432/"]),
      );
      await inTest.event(open, "health_status: healthy");
      await Promise.all([closed, mute, wrong, endless].map((id) => inTest.event(id, "health_status: unhealthy")));
      expect((await health(closed)).Log.at(-1)?.Output).toBe("connect 127.0.0.1:5433: ECONNREFUSED");
      expect((await health(mute)).Log.at(-1)).toMatchObject({
        ExitCode: -1,
        Output: "Health check exceeded timeout (100ms)",
      });
      for (const id of [wrong, endless]) expect((await health(id)).Log.at(-1)?.Output).toBe("GET /: no HTTP answer");
      await inTest.remove(open, closed, mute, wrong, endless);
    });
  });

  describe("a server whose queue is full, so that connections take a while", () => {
    const ip = "127.0.0.1";
    /** Listens, takes one connection and no further: the second waits for its turn, as all after it. */
    const fullServer = () => {
      const listener = sys("socket", "", k.AF_INET, k.SOCK_STREAM | k.SOCK_CLOEXEC | k.O_NONBLOCK, 0);
      const port = scratch(() => {
        const address = room(16);
        address.view.writeUInt16LE(k.AF_INET, 0);
        address.view.set([127, 0, 0, 1], 4);
        sys("bind", "", listener, address.address, 16);
        sys("listen", "", listener, 0);
        const length = room(8);
        length.view.writeInt32LE(16);
        sys("getsockname", "", listener, address.address, length.address);
        return address.view.readUInt16BE(2);
      });
      const clients = [beginConnect({ ip, port }), beginConnect({ ip, port })];
      return { listener, port, close: () => clients.map(close) };
    };
    /** Resolves when one more than our own waits (state SYN_SENT). */
    const waits = async (port: number) => {
      const wanted = `:${port.toString(16).toUpperCase().padStart(4, "0")} 02 `;
      while (readFileSync("/proc/net/tcp", "utf8").split(wanted).length < 3) await Bun.sleep(2);
    };
    const host = (port: number) => ({
      ...check(["TCP", `${ip}:${port}`], { Timeout: 20_000 * MS, Retries: 1 }),
      HostConfig: { NetworkMode: "host" },
    });

    test("it answers late: healthy", async () => {
      const { listener, port, close: closeAll } = fullServer();
      const id = await inTest.run("exec sleep 1000", host(port));
      await waits(port);
      let healthy = false;
      void inTest.event(id, "health_status: healthy").then(() => {
        healthy = true;
      });
      while (!healthy) {
        const accepted = trySys("accept4", listener, 0, 0, k.SOCK_CLOEXEC);
        if (accepted >= 0) close(accepted);
        await Bun.sleep(5);
      }
      await inTest.remove(id);
      close(listener);
      closeAll();
    });

    test("it goes without an answer: unhealthy", async () => {
      const { listener, port, close: closeAll } = fullServer();
      const id = await inTest.run("exec sleep 1000", host(port));
      await waits(port);
      close(listener);
      await inTest.event(id, "health_status: unhealthy");
      expect((await health(id)).Log[0]).toMatchObject({
        ExitCode: 1,
        Output: `connect ${ip}:${port}: ECONNREFUSED`,
      });
      await inTest.remove(id);
      closeAll();
    });
  });

  test("RestartOnUnhealthy restarts, counts, and stops with a stop", async () => {
    const id = await inTest.run("echo up; exec sleep 1000", {
      // Well again while it is being ended.
      ...check(["CMD-SHELL", "echo >> /checks; test $(wc -l < /checks) -ge 3"]),
      StopTimeout: 1,
      HostConfig: { RestartOnUnhealthy: true },
    });
    await inTest.event(id, "health_status: unhealthy");
    await inTest.event(id, "start", 2);
    await inTest.event(id, "health_status: healthy");
    const { RestartCount, State } = await inTest.containers.inspect(id);
    expect([RestartCount, State.Status]).toEqual([1, "running"]);
    expect(inTest.lines.splice(0)).toEqual([expect.stringMatching(/is unhealthy, and restarted for it$/)]);
    await inTest.containers.stop(id, { timeout: 0 });
    expect((await inTest.state(id)).Status).toBe("exited");
    await inTest.remove(id);
    const late = await inTest.run("exec sleep 1000", { ...check(["CMD", "false"]), StopTimeout: 0 });
    await inTest.event(late, "health_status: unhealthy");
    await inTest.containers.update(late, { RestartOnUnhealthy: true });
    await inTest.event(late, "start", 2);
    await inTest.remove(late);
    expect(inTest.lines.splice(0).length).toBeGreaterThan(0);
    const refused = inTest.create("true", { HostConfig: { RestartOnUnhealthy: true } });
    await expect(refused).rejects.toMatchObject({
      kind: "invalid",
      message: "RestartOnUnhealthy needs a health check",
    });
  });

  test("a paused container is not asked, and goes on as it was; NONE asks nobody", async () => {
    const id = await inTest.run("sleep 1000", check(["CMD", "true"]));
    await inTest.event(id, "health_status: healthy");
    await inTest.containers.pause(id);
    expect(await health(id)).toMatchObject({ Status: "healthy" });
    expect((await inTest.containers.list())[0]?.Status).toMatch(/\(Paused\)$/);
    await inTest.containers.unpause(id);
    const { Log } = await health(id);
    while ((await health(id)).Log.at(-1)!.Start === Log.at(-1)!.Start) await Bun.sleep(5);
    expect(await health(id)).toMatchObject({ Status: "healthy", FailingStreak: 0 });
    const none = await inTest.run("sleep 1000", { Healthcheck: { Test: ["NONE"] } });
    expect((await inTest.state(none)).Health).toBeUndefined();
    await inTest.remove(id, none);
  });

  test("another engine knows how it was, and goes on", async () => {
    const id = await inTest.run("sleep 1000", check(["CMD-SHELL", "echo; exit 1"], { Interval: 50 * MS, Retries: 4 }));
    await inTest.event(id, "exec_die", 2);
    await inTest.reopen();
    const { FailingStreak, Log } = await health(id);
    expect([FailingStreak >= 1, Log.length >= 1]).toEqual([true, true]);
    await inTest.event(id, "health_status: unhealthy");
    await inTest.reopen();
    expect(await health(id)).toMatchObject({ Status: "unhealthy" });
    expect((await health(id)).FailingStreak).toBeGreaterThanOrEqual(4);
    await inTest.remove(id);
  });
});
