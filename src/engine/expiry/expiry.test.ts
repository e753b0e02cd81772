import { describe, expect, test } from "bun:test";
import { engineInTest, isRoot } from "../testing/engine.ts";

const MS = 1e6;
const withTime = (HostConfig: object) => ({ StopTimeout: 0, HostConfig });

describe.skipIf(!isRoot)("time to live (needs root)", () => {
  const inTest = engineInTest();
  const said = (...patterns: RegExp[]) =>
    expect(inTest.lines.splice(0)).toEqual(patterns.map((one) => expect.stringMatching(one)));

  test("TTL stops a container, whatever its restart policy; with AutoRemove it is gone", async () => {
    const stays = await inTest.run(
      "exec sleep 1000",
      withTime({ TTL: 60 * MS, RestartPolicy: { Name: "always", MaximumRetryCount: 0 } }),
    );
    await inTest.event(stays, "stop");
    expect(await inTest.state(stays)).toMatchObject({ Status: "exited", ExitCode: 137 });
    said(/is stopped: its time of 60ms is over$/);
    // Nor does the next engine start what `always` would.
    await inTest.reopen();
    expect((await inTest.state(stays)).Status).toBe("exited");
    // A client does, for as long again.
    await inTest.containers.start(stays);
    await inTest.event(stays, "stop", 2);
    said(/its time of 60ms is over$/);
    const goes = await inTest.run("exec sleep 1000", withTime({ TTL: 60 * MS, AutoRemove: true }));
    await inTest.event(goes, "destroy");
    said(/its time of 60ms is over$/);
    await inTest.remove(stays);
  });

  test("restarts by the engine do not prolong it, and it ends one that waits for its restart", async () => {
    const id = await inTest.run(
      "exit 1",
      withTime({ TTL: 500 * MS, RestartPolicy: { Name: "always", MaximumRetryCount: 0 } }),
    );
    await inTest.event(id, "stop");
    expect(await inTest.state(id)).toMatchObject({ Status: "exited", ExitCode: 1 });
    expect((await inTest.containers.inspect(id)).RestartCount).toBeGreaterThanOrEqual(2);
    said(/its time of 500ms is over$/);
    await inTest.remove(id);
  });

  test("another engine knows the time; update prolongs", async () => {
    const id = await inTest.run("exec sleep 1000", withTime({ TTL: 400 * MS }));
    await inTest.reopen();
    await inTest.event(id, "stop");
    // On a busy machine the first one may have begun with it.
    expect(new Set(inTest.lines.splice(0))).toEqual(
      new Set([`container ${id.slice(0, 12)}: is stopped: its time of 400ms is over`]),
    );
    const longer = await inTest.run("exec sleep 1000", withTime({ TTL: 3_600_000 * MS }));
    await inTest.containers.update(longer, { TTL: 100 * MS });
    await inTest.event(longer, "stop");
    said(/its time of 100ms is over$/);
    await inTest.containers.start(longer);
    await inTest.containers.update(longer, { TTL: 0 });
    await expect(inTest.containers.update(longer, { TTL: 5 })).rejects.toMatchObject({
      kind: "invalid",
      message: "TTL cannot be less than 1ms",
    });
    await expect(inTest.create("true", withTime({ IdleTTL: 5 }))).rejects.toMatchObject({
      message: "IdleTTL cannot be less than 100ms",
    });
    await inTest.remove(id, longer);
  });

  test("IdleTTL stops what nobody uses, and not what works, has a client or runs an exec", async () => {
    const time = withTime({ IdleTTL: 600 * MS });
    const started = performance.now();
    const idle = await inTest.run("exec sleep 1000", time);
    const busy = await inTest.run("while :; do :; done", time);
    const attached = await inTest.run("exec sleep 1000", time);
    const attachment = await inTest.containers.attach(attached, { stream: true, stdout: true });
    const exec = await inTest.run("exec sleep 1000", time);
    const { Id } = await inTest.engine.execs.create(exec, { Cmd: ["sleep", "1"] });
    await inTest.engine.execs.start(Id, { Detach: true });

    await inTest.event(idle, "stop");
    expect(performance.now() - started).toBeGreaterThanOrEqual(600);
    expect(await inTest.state(idle)).toMatchObject({ Status: "exited" });
    for (const id of [busy, attached]) expect(await inTest.state(id)).toMatchObject({ Status: "running" });
    // The exec came to its own end first.
    await inTest.event(exec, "stop");
    expect((await inTest.event(exec, "exec_die")).Actor.Attributes.exitCode).toBe("0");
    for (const id of [busy, attached]) expect(await inTest.state(id)).toMatchObject({ Status: "running" });

    // Another engine has not seen it work, but sees that it did; who was attached is gone with the first.
    attachment.close();
    await inTest.reopen();
    await inTest.event(attached, "stop");
    expect(await inTest.state(busy)).toMatchObject({ Status: "running" });
    said(...Array(3).fill(/is stopped: it was idle for 600ms$/));
    await inTest.remove(idle, busy, attached, exec);
  });
});
