import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { engineForTests } from "../harness.ts";
import { Box, missing } from "./container.ts";

describe.skipIf(missing !== "")(`exec${missing}`, async () => {
  const engine = missing ? undefined! : engineForTests();
  const dir = mkdtempSync("/var/tmp/inro-exec-");
  let box: Box;
  let filtered: Box;
  beforeAll(async () => {
    const flags = ["-e", "A=1", "-w", "/tmp", "-m", "64m", "--ulimit", "nofile=100:200", "--oom-score-adj", "300"];
    box = await Box.run(engine, flags);
    const drop = ["--cap-drop", "ALL", "--cap-add", "KILL", "--security-opt", "no-new-privileges", "-u", "1000:44"];
    filtered = await Box.run(engine, drop);
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  test("output, input and exit code", async () => {
    expect(await box.exec(["sh", "-c", "echo out; echo err >&2; exit 9"])).toEqual({
      code: 9,
      stdout: "out\n",
      stderr: "err\n",
    });
    expect(await engine.inro(["exec", "-i", box.id, "cat"], { stdin: "input" })).toEqual({
      code: 0,
      stdout: "input",
      stderr: "",
    });
  });

  test("namespaces and cgroups are those of process 1", async () => {
    const script = "for p in 1 self; do ls -l /proc/$p/ns | sed -n 's/.*-> //p'; cat /proc/$p/cgroup; done";
    const lines = (await box.sh(script)).split("\n");
    expect(lines.slice(0, lines.length / 2)).toEqual(lines.slice(lines.length / 2));
    const [mine] = lines;
    expect(mine).toMatch(/^cgroup:\[\d+\]$/);
  });

  test("it is a process of the container, without a descriptor of the host", async () => {
    expect(await box.sh("ps -o args | grep -c '^sleep 1000'")).toBe("1");
    expect(await box.sh("ls /proc/self/fd")).toBe("0\n1\n2\n3");
    expect(await box.sh("echo $(ls /proc/self/fd)", "-t")).toMatch(/^0 1 2 3\s*$/);
  });

  test.each(["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups"])(
    "%s is as in the container",
    async (field) => {
      for (const each of [box, filtered]) {
        const { stdout } = await each.exec(["grep", `^${field}:`, "/proc/self/status"]);
        expect(stdout.trim().split(/\s+/).slice(1).join(" ")).toBe(each.status(field).trim().split(/\s+/).join(" "));
      }
    },
  );

  test("limits and oom_score_adj are the container's", async () => {
    expect(await box.sh("ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj")).toBe("100\n200\n300");
  });

  test("environment, directory and user are the container's, and can be set", async () => {
    expect(await box.sh("echo $A; pwd; id -u; echo $HOME")).toBe("1\n/tmp\n0\n/root");
    expect(
      await box.sh("echo $A$B; pwd; id -u; id -g; echo $HOME", "-e", "A=2", "-e", "B=3", "-w", "/etc", "-u", "user"),
    ).toBe("23\n/etc\n1000\n1000\n/home/user");
    const file = join(dir, "env");
    writeFileSync(file, "C=file\n");
    expect(await box.sh("echo $C", "--env-file", file)).toBe("file");
  });

  test("the user files are those of the container now", async () => {
    await box.sh("echo late:x:4242:4242::/late:/bin/sh >> /etc/passwd");
    expect(await box.sh("id -u; echo $HOME", "-u", "late")).toBe("4242\n/late");
  });

  test("the filter holds", async () => {
    expect((await box.exec(["unshare", "-U", "true"])).stderr).toContain("Operation not permitted");
    expect((await box.exec(["dmesg"])).stderr).toContain("Operation not permitted");
  });

  test("--privileged has all capabilities", async () => {
    const own = /^CapBnd:\s*(.*)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
    expect(await box.sh("grep CapEff /proc/self/status", "--privileged")).toEndWith(`\t${own}`);
  });

  test("-t has a terminal of the container's own", async () => {
    expect((await box.sh("tty; stty -a", "-t")).replaceAll("\r", "")).toMatch(/^\/dev\/pts\/\d+\nspeed /);
  });

  test("-d goes on alone", async () => {
    await box.sh("mkfifo /tmp/fifo");
    expect(await box.sh("echo done > /tmp/fifo", "-d")).toBe("");
    expect(await box.sh("cat /tmp/fifo")).toBe("done");
  });

  test.each([
    [["nope"], 127, "nope"],
    [["/etc/nope"], 127, "/etc/nope"],
    [["/etc/passwd"], 126, "/etc/passwd"],
    [["/etc"], 126, "/etc"],
  ])("%p ends in %i", async (command, code, message) => {
    const result = await box.exec(command);
    expect([result.code, result.stderr + result.stdout]).toEqual([code, expect.stringContaining(message)]);
  });

  test("a signal is 128 and its number", async () => {
    expect((await box.exec(["sh", "-c", "kill -TERM $$"])).code).toBe(143);
    expect((await box.exec(["sh", "-c", "kill -KILL $$"])).code).toBe(137);
  });

  test("of an ended, a missing and a paused container", async () => {
    const ended = await engine.ok("run", "-d", "busybox", "true");
    await engine.ok("wait", ended);
    const { code, stderr } = await engine.inro(["exec", ended, "true"]);
    expect([code, stderr]).toEqual([1, expect.stringContaining("is not running")]);
    expect((await engine.inro(["exec", "missing", "true"])).stderr).toContain("No such container: missing");
    await engine.ok("rm", ended);
  });

  const descriptors = Array.from({ length: 18 }, (_, i) => i + 3);
  /** Where the directory leads, and whether the host's marker can be reached from it. */
  const wayOut = `cat ../../../../../../../../..${dir}/marker; pwd; ls ..`;
  const check = (results: { stdout: string; stderr: string }[]) => {
    for (const [i, { stdout, stderr }] of results.entries()) {
      expect(stdout + stderr, `descriptor ${i + 3}`).not.toContain("of the host");
      expect(stdout, `descriptor ${i + 3}`).not.toMatch(/^(boot|home|var)$/m);
    }
  };

  test("-w /proc/self/fd/3 to 20 leads nowhere outside (CVE-2024-21626)", async () => {
    writeFileSync(join(dir, "marker"), "of the host");
    check(await Promise.all(descriptors.map((n) => box.exec(["sh", "-c", wayOut], "-w", `/proc/self/fd/${n}`))));
    check(await Promise.all(descriptors.map((n) => engine.sh(wayOut, "-w", `/proc/self/fd/${n}`))));
  });

  test("nor does a link of the container to it", async () => {
    await box.sh(descriptors.map((n) => `ln -s /proc/self/fd/${n} /tmp/fd${n}`).join(";"));
    check(await Promise.all(descriptors.map((n) => box.exec(["sh", "-c", wayOut], "-w", `/tmp/fd${n}`))));
  });

  test("the engine's program is no file of the container (CVE-2019-5736)", async () => {
    // A command that is a link to /proc/self/exe would run, or open, what starts it.
    await box.sh("ln -s /proc/self/exe /tmp/exe; printf '#!/proc/self/exe\\n' > /tmp/script; chmod +x /tmp/script");
    for (const path of ["/tmp/exe", "/tmp/script"]) {
      const { stdout, stderr } = await box.exec([path, "-c", "echo ran"]);
      expect(stdout + stderr).not.toContain("ran");
    }
    await box.sh("sleep 1000", "-d");
    const script = "for e in /proc/[0-9]*/exe; do readlink $e; done | sort -u";
    expect(await box.sh(script)).toBe("/bin/busybox");
  });
});
