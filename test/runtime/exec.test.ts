import { afterAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Process, Spec } from "../../src/spec/oci-runtime.ts";
import { cannotRun, eventually, Runtime } from "./bundle.ts";

type Full = Spec & { process: Process; linux: NonNullable<Spec["linux"]> };
const reason = cannotRun ? ` (skipped: ${cannotRun})` : "";

describe.skipIf(cannotRun !== undefined)(`exec${reason}`, () => {
  const runtime = new Runtime();
  afterAll(() => runtime.close());

  test("in a container that waits for start, and in one that has ended", async () => {
    await runtime.ok("create", "-b", runtime.bundle("sleep 1000"), "waits");
    expect(await runtime.run(["exec", "waits", "sh", "-c", "id -u; readlink /proc/1/exe; exit 3"])).toMatchObject({
      code: 3,
      out: "0\n",
    });
    expect((await runtime.status("waits")).status).toBe("created");
    await runtime.ok("start", "waits");
    await runtime.ok("kill", "waits", "KILL");
    await eventually("it has ended", async () => (await runtime.status("waits")).status === "stopped");
    expect(await runtime.run(["exec", "waits", "true"])).toMatchObject({
      code: 255,
      err: "inro-runtime: cannot exec in a stopped container\n",
    });
    await runtime.ok("delete", "waits");
  });

  test("while its first process is killed: done, killed with it, or refused in clear words", async () => {
    for (let i = 0; i < 4; i++) {
      await runtime.ok("run", "-d", "-b", runtime.bundle("sleep 1000"), "dying");
      const { pid } = await runtime.status("dying");
      const execs = Array.from({ length: 3 }, () => runtime.run(["exec", "dying", "true"]));
      // At once, or when the first of them is done.
      if (i % 2) await Promise.any(execs);
      process.kill(pid, "SIGKILL");
      for (const { code, err } of await Promise.all(execs)) {
        if (code === 0 || code === 137) continue;
        expect({ code, err }).toEqual({ code: 255, err: expect.stringMatching(/stopped container|has ended/) });
      }
      await runtime.ok("delete", "-f", "dying");
    }
  });

  test("a process file says all there is to say", async () => {
    await runtime.ok("run", "-d", "-b", runtime.bundle("sleep 1000"), "file");
    const file = join(runtime.dir, "process.json");
    const script =
      "id; umask; pwd; echo $A$HOME; ulimit -n; cat /proc/self/oom_score_adj; busybox grep -E 'CapBnd|NoNew' /proc/self/status";
    const process: Process = {
      args: ["sh", "-c", script],
      cwd: "/bin",
      env: ["PATH=/bin", "A=1", "A=2"],
      user: { uid: 3, gid: 4, additionalGids: [5], umask: 0o27 },
      rlimits: [{ type: "RLIMIT_NOFILE", soft: 77, hard: 88 }],
      oomScoreAdj: 321,
      noNewPrivileges: false,
      capabilities: { bounding: ["CAP_KILL"] },
    };
    writeFileSync(file, JSON.stringify(process));
    expect(await runtime.run(["exec", "--process", file, "file"])).toEqual({
      code: 0,
      out: "uid=3 gid=4 groups=5\n0027\n/bin\n2/\n77\n321\nCapBnd:\t0000000000000020\nNoNewPrivs:\t0\n",
      err: "",
    });
    // biome-ignore format: a table
    for (const [change, message] of [
      [{ args: [] },                          "process.args: must not be empty"],
      [{ cwd: "bin" },                        "process.cwd: must be an absolute path"],
      [{ user: { uid: -1, gid: 0 } },         "process.user.uid: -1 is not an integer"],
      [{ env: ["A"] },                        'process.env: "A" is not NAME=VALUE'],
      [{ scheduler: { policy: "X" } },        'process.scheduler.policy: unknown "X"'],
      [{ rlimits: [{ type: "RLIMIT_NOFILE", soft: 2, hard: 1 }] }, "soft 2 is over hard 1"],
    ] as const) {
      writeFileSync(file, JSON.stringify({ ...process, ...change }));
      const { code, err } = await runtime.run(["exec", "--process", file, "file"]);
      expect({ code, err }).toEqual({ code: 255, err: expect.stringContaining(message) });
    }
    for (const [content, message] of [
      ["{", "--process"],
      ["[]", "must be an object"],
    ] as const) {
      writeFileSync(file, content);
      const { code, err } = await runtime.run(["exec", "--process", file, "file"]);
      expect({ code, err }).toEqual({ code: 255, err: expect.stringContaining(message) });
    }
    const { code, err } = await runtime.run(["exec", "--process", `${file}-not`, "file"]);
    expect({ code, err }).toEqual({ code: 255, err: expect.stringContaining("ENOENT") });
    await runtime.ok("delete", "-f", "file");
  });

  test("of the container's environment the flags win, and HOME is the user's", async () => {
    const bundle = runtime.bundle("sleep 1000", ((s: Full) => s.process.env?.push("A=config", "B=config")) as never);
    await runtime.ok("run", "-d", "-b", bundle, "env");
    const show = ["env", "sh", "-c", "echo $A $B $HOME"];
    expect(await runtime.ok("exec", "-e", "A=flag", "-e", "A=last", ...show)).toBe("last config /\n");
    expect(await runtime.ok("exec", "-e", "HOME=/mine", ...show)).toBe("config config /mine\n");
    expect(readFileSync(join(bundle, "config.json"), "utf8")).not.toContain("HOME");
    await runtime.ok("delete", "-f", "env");
  });
});
