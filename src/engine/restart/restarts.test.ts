import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { engineInTest, isRoot } from "../testing/engine.ts";

const policy = (Name: string, MaximumRetryCount = 0) => ({
  HostConfig: { RestartPolicy: { Name, MaximumRetryCount } },
});
/** Ends with `code` in its first runs, and stays in run `stay`. */
const failing = (stay: number, code = 1) =>
  `echo run >> /runs; [ $(wc -l < /runs) -ge ${stay} ] && exec sleep 1000; exit ${code}`;

describe.skipIf(!isRoot)("restart policies (needs root)", () => {
  const inTest = engineInTest();

  test("always: starts again until it stays, with a delay that doubles", async () => {
    const id = await inTest.run(failing(3, 0), policy("always"));
    await inTest.event(id, "start", 3);
    const { State, RestartCount } = await inTest.containers.inspect(id);
    expect([State.Status, State.Restarting, RestartCount]).toEqual(["running", false, 2]);
    const times: number[] = [];
    for (let i = 1; i <= 2; i++) {
      const [died, started] = [await inTest.event(id, "die", i), await inTest.event(id, "start", i + 1)];
      times.push((started.timeNano - died.timeNano) / 1e6);
    }
    expect(times[0]).toBeGreaterThanOrEqual(95);
    expect(times[1]).toBeGreaterThanOrEqual(195);
    await inTest.remove(id);
  });

  test("on-failure:2 gives up after two more; a success is the end", async () => {
    const id = await inTest.run("exit 3", policy("on-failure", 2));
    await inTest.event(id, "die", 3);
    expect(await inTest.state(id)).toMatchObject({ Status: "exited", Running: false, Restarting: false, ExitCode: 3 });
    expect((await inTest.containers.inspect(id)).RestartCount).toBe(2);
    const ok = await inTest.run("true", policy("on-failure"));
    await inTest.event(ok, "die");
    expect(await inTest.state(ok)).toMatchObject({ Status: "exited", ExitCode: 0 });
    await inTest.remove(id, ok);
  });

  test("restarting: what every call says to one that waits", async () => {
    const id = await inTest.run("exit 5", policy("always"), "waits");
    await inTest.event(id, "die", 3);
    expect(await inTest.state(id)).toMatchObject({
      Status: "restarting",
      Running: true,
      Restarting: true,
      Paused: false,
      Pid: 0,
      ExitCode: 5,
    });
    const [shown] = await inTest.containers.list({ filters: new Map([["status", ["restarting"]]]) });
    expect([shown?.Id, shown?.State, shown?.Status]).toEqual([
      id,
      "restarting",
      expect.stringMatching(/^Restarting \(5\) .* ago$/),
    ]);
    expect(await inTest.containers.list({ filters: new Map([["status", ["running"]]]) })).toEqual([]);
    expect((await inTest.containers.list()).map(({ Id }) => Id)).toEqual([id]);
    expect(inTest.engine.idle).toBe(false);

    const waiting = `Container ${id} is restarting, wait until the container is running`;
    await expect(inTest.containers.start(id)).rejects.toMatchObject({ kind: "notModified" });
    for (const call of [
      () => inTest.containers.attach(id, { stream: true }),
      () => inTest.containers.pause(id),
      () => inTest.containers.top(id),
      () => inTest.containers.resize(id, 1, 1),
      () => inTest.containers.kill(id, "HUP"),
      () => inTest.engine.execs.create(id, { Cmd: ["true"] }),
    ]) {
      await expect(call()).rejects.toMatchObject({ kind: "conflict", message: waiting });
    }
    await expect(inTest.containers.remove(id)).rejects.toMatchObject({
      kind: "conflict",
      message:
        'cannot remove container "/waits": container is restarting: stop the container before removing or force remove',
    });
    const over = inTest.containers.wait(id);
    await inTest.containers.stop(id);
    expect(await over.result).toEqual({ StatusCode: 5 });
    expect(inTest.actions(id).at(-1)).toBe("stop");
    expect(await inTest.state(id)).toMatchObject({ Status: "exited", Running: false, Restarting: false, ExitCode: 5 });
    await expect(inTest.containers.stop(id)).rejects.toMatchObject({ kind: "notModified" });
    await inTest.containers.remove(id);
  });

  test("kill and rm -f end the waiting, start counts anew, restart does not wait", async () => {
    const id = await inTest.run(failing(4), policy("always"));
    await inTest.event(id, "die", 3);
    await inTest.containers.kill(id);
    expect((await inTest.state(id)).Status).toBe("exited");
    expect((await inTest.containers.inspect(id)).RestartCount).toBe(3);
    await inTest.containers.start(id);
    expect((await inTest.state(id)).Status).toBe("running");
    expect((await inTest.containers.inspect(id)).RestartCount).toBe(0);
    await inTest.remove(id);

    const other = await inTest.run("exit 1", policy("always"));
    await inTest.event(other, "die", 2);
    await inTest.containers.restart(other);
    await inTest.event(other, "restart");
    await inTest.event(other, "die", 3);
    await inTest.remove(other);
    await inTest.event(other, "destroy");
  });

  test("a stop is one also while it is being started, and a signal that asks for no end leaves the policy", async () => {
    const id = await inTest.create("trap 'exit 7' HUP; echo ready; sleep 1000 & wait", policy("unless-stopped"));
    const { output } = await inTest.containers.attach(id, { stream: true, stdout: true });
    await inTest.containers.start(id);
    for await (const _ of output) break;
    await inTest.containers.kill(id, "HUP");
    await inTest.event(id, "start", 2);
    await inTest.containers.stop(id, { timeout: 0 });
    expect((await inTest.state(id)).Status).toBe("exited");
    const starting = inTest.containers.start(id);
    await new Promise(setImmediate);
    await Promise.all([starting, inTest.containers.stop(id, { timeout: 0 })]);
    expect((await inTest.state(id)).Status).toBe("exited");
    await inTest.remove(id);
  });

  test("update changes the policy of one that runs and of one that waits", async () => {
    const id = await inTest.run("sleep 1000", policy("no"));
    await inTest.containers.update(id, { RestartPolicy: { Name: "on-failure", MaximumRetryCount: 4 } });
    expect((await inTest.containers.inspect(id)).HostConfig.RestartPolicy).toEqual({
      Name: "on-failure",
      MaximumRetryCount: 4,
    });
    process.kill((await inTest.state(id)).Pid, "SIGKILL");
    await inTest.event(id, "start", 2);
    await inTest.remove(id);

    const loops = await inTest.run("exit 1", policy("always"));
    await inTest.event(loops, "die", 3);
    await inTest.containers.update(loops, { RestartPolicy: { Name: "no" } });
    expect(await inTest.state(loops)).toMatchObject({ Status: "exited", ExitCode: 1 });
    await inTest.remove(loops);

    const gone = await inTest.create("true", { HostConfig: { AutoRemove: true } });
    await expect(inTest.containers.update(gone, { RestartPolicy: { Name: "always" } })).rejects.toMatchObject({
      kind: "conflict",
      message: "Restart policy cannot be updated because AutoRemove is enabled for the container",
    });
    await expect(inTest.containers.update(gone, { RestartPolicy: { Name: "sometimes" } })).rejects.toMatchObject({
      kind: "invalid",
    });
    await inTest.remove(gone);
  });

  test("another engine goes on with what waits, and its count", async () => {
    const id = await inTest.run("exit 9", policy("always"));
    await inTest.event(id, "die", 3);
    await inTest.close();
    await inTest.open();
    await inTest.event(id, "die", 4);
    expect((await inTest.containers.inspect(id)).RestartCount).toBeGreaterThanOrEqual(3);
    await inTest.remove(id);
  });

  test("a client's restart: of one that removes itself, and of one whose engine goes amid the stop", async () => {
    const once = await inTest.run("exec sleep 1000", { StopTimeout: 0, HostConfig: { AutoRemove: true } });
    await inTest.containers.restart(once);
    expect(await inTest.state(once)).toMatchObject({ Status: "running" });
    await inTest.containers.stop(once);
    await inTest.event(once, "destroy");

    const id = await inTest.create("trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done", {
      StopTimeout: 1,
      ...policy("unless-stopped"),
    });
    const { output } = await inTest.containers.attach(id, { stream: true, stdout: true });
    await inTest.containers.start(id);
    let said = "";
    for await (const { data } of output) {
      if (said === "") inTest.containers.restart(id, { timeout: 1000 }).catch(() => undefined);
      said += Buffer.from(data).toString();
      if (said.includes("asked")) break;
    }
    await inTest.reopen();
    await inTest.event(id, "start", 2);
    expect(await inTest.containers.inspect(id)).toMatchObject({ RestartCount: 0, State: { Status: "running" } });
    await inTest.remove(id);
  });

  test("after the machine was restarted: what ran runs again, where its policy says so", async () => {
    const names = ["always", "unless-stopped", "on-failure", "no"];
    const [always = "", unlessStopped = "", onFailure = "", no = ""] = await Promise.all(
      names.map((name) => inTest.run("exec sleep 1000", policy(name))),
    );
    await inTest.close();
    const db = new Database(join(inTest.directory, "data/inro.db"));
    db.run("UPDATE containers SET state = json_set(state, '$.bootId', 'another')");
    db.close();
    await inTest.open();
    for (const id of [always, unlessStopped, onFailure]) await inTest.event(id, "start", 2);
    expect(await inTest.state(no)).toMatchObject({ Status: "exited", ExitCode: 255 });
    expect((await inTest.containers.inspect(always)).RestartCount).toBe(1);
    await inTest.remove(always, unlessStopped, onFailure, no);
  });

  test("an engine that starts also starts what docker would, and one that was only idle nothing", async () => {
    const run = async (name: string) => {
      const id = await inTest.run("sleep 1000", policy(name));
      await inTest.containers.stop(id, { timeout: 0 });
      return id;
    };
    const always = await run("always");
    const others = [await run("unless-stopped"), await run("on-failure"), await run("no")];
    const unused = await inTest.create("sleep 1000", policy("always"));
    const joins = await inTest.create("sleep 1000", {
      HostConfig: { ...policy("always").HostConfig, PidMode: `container:${always}` },
    });
    await inTest.reopen({ idle: true });
    const running = async () => (await inTest.containers.list()).map(({ Id }) => Id);
    expect(await running()).toEqual([]);
    await inTest.containers.start(always);
    await inTest.containers.start(joins);
    await inTest.containers.stop(joins, { timeout: 0 });
    await inTest.containers.stop(always, { timeout: 0 });
    await inTest.reopen();
    await inTest.event(joins, "start", 2);
    expect(await running()).toEqual([joins, always]);
    await inTest.remove(joins, always, unused, ...others);
  });
});
