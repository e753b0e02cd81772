import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { engineForTests } from "../harness.ts";
import { Box, missing, until } from "./container.ts";

const MIB = 1024 * 1024;

describe.skipIf(missing !== "")(`limits${missing}`, async () => {
  const engine = missing ? undefined! : engineForTests();

  test("a fork bomb stops at --pids-limit, and the host does not notice", async () => {
    // Should the limit not hold, the bomb ends here: this one counts for all but root.
    const bounded = ["-u", "54321", "--ulimit", "nproc=100"];
    await using box = await Box.run(
      engine,
      ["--pids-limit", "30", ...bounded],
      "(bomb() { bomb | bomb & }; while :; do bomb; done) 2>/dev/null & exec sleep 1000",
    );
    await until("the limit is hit", () => Number(/\d+/.exec(box.limit("pids", "pids.events"))) > 0);
    expect(Number(box.limit("pids", "pids.current"))).toBeLessThanOrEqual(30);
    expect(box.limit("pids", "pids.max")).toBe("30");
    expect(Bun.spawnSync(["true"]).exitCode).toBe(0);
    expect((await engine.sh("exit 3")).code).toBe(3);
  });

  test("a command over its --memory ends in 137, and OOMKilled says why", async () => {
    const id = await engine.ok(
      "create",
      "-m",
      "16m",
      "--memory-swap",
      "16m",
      "busybox",
      "dd",
      "if=/dev/zero",
      "of=/dev/null",
      "bs=64M",
      "count=1",
    );
    expect((await engine.inro(["start", "-a", id])).code).toBe(137);
    expect(await engine.ok("inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", id)).toBe("true 137");
    await engine.ok("rm", id);
  });

  test("a killed child of a container that goes on counts too, an ordinary end does not", async () => {
    const flags = ["-m", "16m", "--memory-swap", "16m"];
    const state = async (script: string) => {
      const id = await engine.ok("run", "-d", ...flags, "busybox", "sh", "-c", script);
      expect(await engine.ok("wait", id)).toBe("5");
      const killed = await engine.ok("inspect", "-f", "{{.State.OOMKilled}}", id);
      await engine.ok("rm", id);
      return killed;
    };
    expect(await state("dd if=/dev/zero of=/dev/null bs=64M count=1; exit 5")).toBe("true");
    expect(await state("exit 5")).toBe("false");
  });

  test("what fits is left alone", async () => {
    expect((await engine.sh("dd if=/dev/zero of=/dev/null bs=8M count=1", "-m", "32m")).code).toBe(0);
  });

  test("--memory, --memory-swap and --memory-reservation are the cgroup's", async () => {
    await using box = await Box.run(engine, ["-m", "32m", "--memory-swap", "64m", "--memory-reservation", "16m"]);
    expect(Number(box.limit("memory", "memory.limit_in_bytes", "memory.max"))).toBe(32 * MIB);
    expect(Number(box.limit("memory", "memory.soft_limit_in_bytes", "memory.low"))).toBe(16 * MIB);
    const v1 = box.cgroup("memory").includes("/memory/");
    expect(Number(box.limit("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"))).toBe((v1 ? 64 : 32) * MIB);
  });

  test("--memory alone allows as much swap again", async () => {
    await using box = await Box.run(engine, ["-m", "32m"]);
    const v1 = box.cgroup("memory").includes("/memory/");
    expect(Number(box.limit("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"))).toBe((v1 ? 64 : 32) * MIB);
  });

  test("--cpus is a quota", async () => {
    await using box = await Box.run(engine, ["--cpus", "0.5"]);
    if (existsSync(`${box.cgroup("cpu")}/cpu.cfs_quota_us`)) {
      expect(box.limit("cpu", "cpu.cfs_quota_us")).toBe("50000");
      expect(box.limit("cpu", "cpu.cfs_period_us")).toBe("100000");
    } else expect(box.limit("cpu", "cpu.max")).toBe("50000 100000");
  });

  test("--cpu-shares", async () => {
    await using box = await Box.run(engine, ["--cpu-shares", "512"]);
    expect(["512", "20", "59"]).toContain(box.limit("cpu", "cpu.shares", "cpu.weight"));
  });

  test("--cpuset-cpus holds for the command and for exec", async () => {
    await using box = await Box.run(engine, ["--cpuset-cpus", "0"]);
    expect(box.limit("cpuset", "cpuset.cpus")).toBe("0");
    expect(box.status("Cpus_allowed_list")).toBe("0");
    expect(await box.sh("grep Cpus_allowed_list /proc/self/status")).toEndWith("\t0");
    expect(await box.sh("nproc")).toBe("1");
  });

  test("the container reads its own cgroup and cannot write it", async () => {
    const script =
      "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; echo -1 > /sys/fs/cgroup/memory/memory.limit_in_bytes || echo max > /sys/fs/cgroup/memory.max";
    const { stdout, stderr } = await engine.sh(script, "-m", "32m");
    expect(Number(stdout)).toBe(32 * MIB);
    expect(stderr).toContain("Read-only file system");
  });

  test("exec is under the container's limits", async () => {
    await using box = await Box.run(engine, ["-m", "16m", "--memory-swap", "16m", "--pids-limit", "20"]);
    expect((await box.exec(["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"])).code).toBe(137);
    expect((await box.exec(["sh", "-c", "for i in $(seq 40); do sleep 1000 & done"])).stderr).toContain("can't fork");
    expect(Number(box.limit("pids", "pids.current"))).toBeLessThanOrEqual(20);
  });

  test("--pids-limit too low to start is told", async () => {
    expect((await engine.sh("true; (true); true", "--pids-limit", "1")).stderr).toContain("can't fork");
  });
});
