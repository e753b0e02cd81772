import { describe, expect, test } from "bun:test";
import { readdirSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { engineForTests } from "../harness.ts";
import { Box, missing, shell, until } from "./container.ts";

describe.skipIf(missing !== "")(`process${missing}`, async () => {
  const engine = missing ? undefined! : engineForTests();

  test("the command is process 1, and sees only what it started", async () => {
    const [first, ...seen] = (await shell(engine, "echo $$; ls /proc | grep '^[0-9]'; true")).split("\n");
    expect(first).toBe("1");
    expect(seen[0]).toBe("1");
    expect(seen.length).toBeLessThanOrEqual(3);
  });

  test("namespaces are the container's own", async () => {
    await using box = await Box.run(engine);
    for (const name of ["mnt", "pid", "net", "ipc", "uts", "time"]) {
      const host = readlinkSync(`/proc/self/ns/${name}`);
      expect(readlinkSync(`/proc/${box.pid}/ns/${name}`), name).not.toBe(host);
    }
  });

  test("the host name is the container's id, or -h, and a change of it stays inside", async () => {
    const before = hostname();
    await using box = await Box.run(engine, ["--cap-add", "SYS_ADMIN"]);
    expect(await box.sh("hostname")).toBe(box.id.slice(0, 12));
    expect(await box.sh("hostname changed; hostname; cat /etc/hostname")).toBe(`changed\n${box.id.slice(0, 12)}`);
    expect(hostname()).toBe(before);
    expect(await shell(engine, "hostname; cat /etc/hostname; echo $HOSTNAME", "-h", "box.example")).toBe(
      "box.example\nbox.example\nbox.example",
    );
    expect((await engine.sh("hostname x")).stderr).toContain("Operation not permitted");
  });

  test("--uts host and --pid host join the host's", async () => {
    expect(await shell(engine, "hostname", "--uts", "host")).toBe(hostname());
    expect(Number(await shell(engine, "echo $$", "--pid", "host"))).toBeGreaterThan(1);
  });

  test("no descriptor but stdio leaks in", async () => {
    await using box = await Box.run(engine, ["-i", "-v", "/var/tmp:/mnt", "--device", "/dev/null:/dev/other"]);
    expect(readdirSync(`/proc/${box.pid}/fd`)).toEqual(["0", "1", "2"]);
    // 3 is the directory that ls reads.
    expect(await box.sh("ls /proc/self/fd")).toBe("0\n1\n2\n3");
    for (const flag of ["-t", "--init", "--privileged"]) {
      await using other = await Box.run(engine, [flag]);
      expect(readdirSync(`/proc/${other.pid}/fd`), flag).toEqual(["0", "1", "2"]);
    }
  });

  test("signals and masks are as a fresh process has them", async () => {
    const status = await shell(engine, "exec cat /proc/self/status");
    expect(status).toMatch(/^SigBlk:\s*0+$/m);
    expect(status).toMatch(/^SigIgn:\s*0+$/m);
  });

  test("the exit code is the command's", async () => {
    expect((await engine.sh("exit 0")).code).toBe(0);
    expect((await engine.sh("exit 42")).code).toBe(42);
    expect((await engine.sh("exit 255")).code).toBe(255);
  });

  test.each([
    ["HUP", 129],
    ["KILL", 137],
    ["SEGV", 139],
    ["TERM", 143],
  ])("a command that dies of SIG%s ends in %i", async (signal, code) => {
    // Process 1 of a namespace cannot be killed from inside: --init makes the command process 2.
    expect((await engine.sh(`kill -${signal} $$`, "--init")).code).toBe(code);
  });

  test("kill reaches process 1: SIGKILL is 137, what it handles is up to it", async () => {
    const killed = await engine.ok("run", "-d", "busybox", "sleep", "1000");
    await engine.ok("kill", killed);
    expect(await engine.ok("wait", killed)).toBe("137");
    const handled = await engine.ok(
      "run",
      "-d",
      "busybox",
      "sh",
      "-c",
      "trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done",
    );
    await until("ready", async () => (await engine.ok("logs", handled)) === "ready");
    await engine.ok("kill", "-s", "USR1", handled);
    expect(await engine.ok("wait", handled)).toBe("7");
    await engine.ok("rm", killed, handled);
  });

  test("--init passes signals on", async () => {
    const id = await engine.ok("run", "-d", "--init", "busybox", "sleep", "1000");
    await engine.ok("kill", "-s", "TERM", id);
    expect(await engine.ok("wait", id)).toBe("143");
    await engine.ok("rm", id);
  });

  test("--init is process 1 and reaps orphans, which stay zombies without it", async () => {
    const zombies = async (box: Box) =>
      (await box.sh("cat /proc/[0-9]*/stat 2>/dev/null; true")).match(/ Z /g)?.length ?? 0;
    await using plain = await Box.run(engine);
    await using init = await Box.run(engine, ["--init"]);
    expect(await init.sh("cat /proc/1/comm")).toBe("docker-init");
    for (const box of [plain, init]) await box.sh("(true &) ; (true &)");
    await until("zombies without an init", async () => (await zombies(plain)) === 2);
    await until("reaped", async () => (await zombies(init)) === 0);
  });

  test("everything dies with process 1", async () => {
    const box = await Box.run(engine);
    await box.exec(["sleep", "1000"], "-d");
    const inside = readlinkSync(`/proc/${box.pid}/ns/pid`);
    const left = () =>
      readdirSync("/proc").filter((pid) => {
        try {
          return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/ns/pid`) === inside;
        } catch {
          return false;
        }
      });
    expect(left().length).toBe(2);
    await box[Symbol.asyncDispose]();
    await until("no process left", () => left().length === 0);
  });

  test("--ulimit sets soft and hard limits", async () => {
    expect(
      await shell(engine, "ulimit -Sn; ulimit -Hn; ulimit -Sc", "--ulimit", "nofile=100:200", "--ulimit", "core=0"),
    ).toBe("100\n200\n0");
  });

  test("--oom-score-adj", async () => {
    expect(await shell(engine, "cat /proc/self/oom_score_adj", "--oom-score-adj", "500")).toBe("500");
  });

  test("umask is 022", async () => {
    expect(await shell(engine, "umask")).toBe("0022");
  });
});
