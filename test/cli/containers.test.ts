import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`inro's commands${why && ` (${why})`}`, async () => {
  if (why) return;
  const engine = engineForTests();
  const lines = async (...args: string[]) => (await engine.ok(...args)).split("\n");

  test("run: stdout and stderr apart, stdin and its end, big input both ways", async () => {
    expect(await engine.sh("echo out; echo err >&2; exit 3")).toEqual({ code: 3, stdout: "out\n", stderr: "err\n" });
    const cat = (stdin: string) => engine.inro(["run", "--rm", "-i", "busybox", "cat"], { stdin });
    expect(await cat("hi\n")).toEqual({ code: 0, stdout: "hi\n", stderr: "" });
    expect(await cat("")).toEqual({ code: 0, stdout: "", stderr: "" });
    const big = "0123456789abcdef".repeat(1 << 17);
    expect((await cat(big)).stdout === big).toBe(true);
    expect((await engine.inro(["run", "--rm", "busybox", "cat"], { stdin: "not passed" })).stdout).toBe("");
    expect(
      (await engine.inro(["run", "--rm", "-i", "-a", "stdout", "busybox", "sh", "-c", "echo o; echo e >&2"])).stdout,
    ).toBe("o\n");
  });

  test.each([
    [125, ["run", "--rm", "--memory", "1", "busybox", "true"], /memory/i],
    [125, ["run", "--rm", "--nonsense", "busybox"], /unknown flag: --nonsense/],
    [125, ["run", "--rm", "--name", "-bad-", "busybox", "true"], /[Ii]nvalid container name/],
    [126, ["run", "--rm", "busybox", "/etc/passwd"], /permission denied|EACCES/i],
    [127, ["run", "--rm", "busybox", "nope"], /nope.*(not found|no such file)|ENOENT/i],
    [127, ["run", "--rm", "busybox", "/nope"], /no such file|ENOENT/i],
    [137, ["run", "--rm", "--init", "busybox", "sh", "-c", "kill -9 $$"], /^$/],
    [143, ["run", "--rm", "--init", "busybox", "sh", "-c", "kill -TERM $$"], /^$/],
    [1, ["exec", "nobody", "true"], /No such container: nobody/],
    [1, ["frobnicate"], /unknown command/],
  ] as const)("status %i of %j", async (code, args, text) => {
    const result = await engine.inro([...args]);
    expect(result.code).toBe(code);
    expect(result.stderr).toMatch(text);
    expect(result.stdout).toBe("");
    expect(await engine.ok("ps", "-aq")).toBe("");
  });

  test("-d prints the id; --cidfile, --env-file, --name, --label, --hostname, -w, -u, --entrypoint", async () => {
    const cidfile = join(engine.dir, "cid");
    writeFileSync(join(engine.dir, "env"), "# a comment\nFROM_FILE=a b\nHOME_OF\n\nEMPTY=\n");
    const create = ["--cidfile", cidfile, "--env-file", join(engine.dir, "env"), "-e", "ONE=1", "-e", "PASSED"];
    const more = [
      "--name",
      "all",
      "-l",
      "a=b",
      "--hostname",
      "box",
      "-w",
      "/tmp",
      "-u",
      "1000:29",
      "--entrypoint",
      "sh",
    ];
    const script =
      'echo "$FROM_FILE|$ONE|$PASSED|${EMPTY-unset}|${HOME_OF-unset}|$(hostname)|$(pwd)|$(id -u):$(id -g)"';
    const { code, stdout } = await engine.inro(["run", "-d", ...create, ...more, "busybox", "-c", script], {
      env: { PASSED: "on" },
    });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^[0-9a-f]{64}\n$/);
    expect(readFileSync(cidfile, "utf8")).toBe(stdout.trim());
    expect(await engine.ok("wait", "all")).toBe("0");
    expect(await engine.ok("logs", "all")).toBe("a b|1|on||unset|box|/tmp|1000:29");
    const again = await engine.inro(["run", "--cidfile", cidfile, "busybox", "true"]);
    expect(again).toMatchObject({ code: 125, stderr: expect.stringContaining("container ID file found") });
    const taken = await engine.inro(["run", "--name", "all", "busybox", "true"]);
    expect(taken).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/Conflict.*"\/all" is already in use by container/i),
    });
    expect(await engine.ok("rm", "all")).toBe("all");
    expect(existsSync(cidfile)).toBe(true);
  });

  test("ps: columns, filters, formats, sizes; inspect: formats", async () => {
    await engine.ok("run", "-d", "--name", "web", "-l", "tier=front", "busybox", "sleep", "1000");
    await engine
      .ok("run", "--name", "done", "-l", "tier=back", "busybox", "sh", "-c", "echo data > /file; exit 4; ".repeat(3))
      .catch(() => {});
    await engine.ok("create", "--name", "fresh", "busybox", "true");
    const table = await lines("ps", "-a");
    expect(table[0]).toMatch(/^CONTAINER ID {3}IMAGE {5}COMMAND +CREATED +STATUS +PORTS +NAMES$/);
    expect(table).toHaveLength(4);
    expect(table[1]).toMatch(/^[0-9a-f]{12} {3}busybox {3}"true" .*ago +Created +fresh$/);
    expect(table[2]).toMatch(/"sh -c 'echo data > …" .*ago +Exited \(4\) .*ago +done$/);
    expect(table[3]).toMatch(/"sleep 1000" .*ago +Up .*second.* web$/);
    const names = (...filters: string[]) =>
      engine.ok("ps", "-a", "--format", "{{.Names}}", ...filters.flatMap((f) => ["-f", f]));
    expect(await names("status=running")).toBe("web");
    expect(await names("status=exited", "status=created")).toBe("fresh\ndone");
    expect(await names("exited=4")).toBe("done");
    expect(await names("label=tier")).toBe("done\nweb");
    expect(await names("label=tier=front")).toBe("web");
    expect(await names("name=e")).toBe("fresh\ndone\nweb");
    expect(await names("name=^web$")).toBe("web");
    expect(await names("ancestor=busybox", "name=fr")).toBe("fresh");
    expect(await names("before=done")).toBe("web");
    expect(await names("since=web", "label=tier")).toBe("done");
    expect((await engine.inro(["ps", "-f", "nonsense=1"])).code).toBe(1);
    expect(await engine.ok("ps", "-n", "1", "--format", "{{.Names}}")).toBe("fresh");
    expect(await engine.ok("ps", "-q", "--no-trunc")).toMatch(/^[0-9a-f]{64}$/);
    expect(await engine.ok("ps", "--format", '{{.Names}}\t{{.Image}} {{.Label "tier"}} {{.State}}')).toBe(
      "web\tbusybox front running",
    );
    expect(await engine.ok("ps", "--format", "table {{.Names}}\t{{.State}}")).toBe(
      "NAMES     STATE\nweb       running",
    );
    expect(JSON.parse(await engine.ok("ps", "--format", "json"))).toMatchObject({
      Names: "web",
      State: "running",
      Labels: "tier=front",
    });
    expect(await engine.ok("ps", "-a", "-s", "--format", "{{.Size}}", "-f", "name=done")).toMatch(
      /^5B \(virtual 1\.9\dMB\)$/,
    );

    const [web] = JSON.parse(await engine.ok("inspect", "web")) as [
      { State: { Running: boolean }; Name: string; Config: { Labels: object } },
    ];
    expect(web).toMatchObject({ Name: "/web", State: { Running: true }, Config: { Labels: { tier: "front" } } });
    expect(
      await engine.ok(
        "inspect",
        "-f",
        "{{.Name}} {{.State.ExitCode}} {{json .Config.Cmd}} {{len .Config.Env}}",
        "done",
        "web",
      ),
    ).toMatch(/^\/done 4 \[.*\] \d\n\/web 0 \["sleep","1000"\] \d$/);
    const missing = await engine.inro(["inspect", "web", "nope"]);
    expect(missing.code).toBe(1);
    expect(JSON.parse(missing.stdout)).toHaveLength(1);
    expect(missing.stderr).toMatch(/No such object: nope/);
    expect(await engine.ok("diff", "done")).toContain("A /file");
    expect(await engine.ok("rm", "-f", "web", "done", "fresh")).toBe("web\ndone\nfresh");
    expect(await engine.ok("ps", "-aq")).toBe("");
  });

  test("logs: streams, --tail, --since, --until, --timestamps, -f to the end", async () => {
    const script = "echo one; echo two >&2; echo three; until test -e /go; do usleep 1000; done; echo four; exit 2";
    await engine.ok("run", "-d", "--name", "talk", "busybox", "sh", "-c", script);
    const follow = engine.spawn(["logs", "-f", "talk"]);
    const stderr = new Response(follow.stderr as ReadableStream).text();
    const reader = (follow.stdout as ReadableStream<Uint8Array>).getReader();
    let seen = "";
    while (!seen.includes("three\n")) seen += new TextDecoder().decode((await reader.read()).value);
    // The container may end, and take it along, before it has.
    expect([0, 137]).toContain((await engine.inro(["exec", "talk", "touch", "/go"])).code);
    for (let part = await reader.read(); !part.done; part = await reader.read())
      seen += new TextDecoder().decode(part.value);
    expect(await follow.exited).toBe(0);
    expect({ seen, stderr: await stderr }).toEqual({ seen: "one\nthree\nfour\n", stderr: "two\n" });
    expect(await engine.ok("wait", "talk")).toBe("2");
    expect(await engine.inro(["logs", "talk"])).toEqual({ code: 0, stdout: "one\nthree\nfour\n", stderr: "two\n" });
    expect((await engine.inro(["logs", "--tail", "1", "talk"])).stdout).toBe("four\n");
    expect(await engine.inro(["logs", "-n", "0", "talk"])).toEqual({ code: 0, stdout: "", stderr: "" });
    const stamped = (await engine.inro(["logs", "-t", "talk"])).stdout.trimEnd().split("\n");
    expect(stamped).toHaveLength(3);
    for (const line of stamped) expect(line).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (one|three|four)$/);
    const fourth = stamped[2]!.split(" ")[0]!;
    expect((await engine.inro(["logs", "--since", fourth, "talk"])).stdout).toBe("four\n");
    expect((await engine.inro(["logs", "--until", stamped[0]!.split(" ")[0]!, "talk"])).stdout).toBe("one\n");
    expect((await engine.inro(["logs", "--since", "1h", "talk"])).stdout).toBe("one\nthree\nfour\n");
    expect((await engine.inro(["logs", "--tail", "some", "talk"])).code).not.toBe(2);
    await engine.ok("rm", "talk");
  });

  test("stop: the container's signal first, its end within the time, SIGKILL after it", async () => {
    const script =
      'trap "echo got USR1; exit 9" USR1; trap "echo got TERM" TERM; echo ready; while :; do usleep 5000; done';
    const start = async (name: string, ...flags: string[]) => {
      await engine.ok("run", "-d", "--name", name, ...flags, "busybox", "sh", "-c", script);
      const follow = engine.spawn(["logs", "-f", name]);
      await (follow.stdout as ReadableStream<Uint8Array>).getReader().read();
      follow.kill("SIGKILL");
      await follow.exited;
    };
    const state = (name: string) => engine.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name);
    await start("usr", "--stop-signal", "USR1");
    expect(await engine.ok("stop", "usr")).toBe("usr");
    expect(await state("usr")).toBe("exited 9");
    expect(await engine.ok("logs", "usr")).toBe("ready\ngot USR1");
    await start("term");
    const before = performance.now();
    await engine.ok("stop", "-t", "1", "term");
    expect(performance.now() - before).toBeGreaterThan(990);
    expect(await state("term")).toBe("exited 137");
    expect(await engine.ok("logs", "term")).toBe("ready\ngot TERM");
    await engine.ok("stop", "term");
    await start("kill");
    await engine.ok("kill", "-s", "SIGUSR1", "kill");
    expect(await engine.ok("wait", "kill")).toBe("9");
    const dead = await engine.inro(["kill", "kill"]);
    expect(dead).toMatchObject({ code: 1, stderr: expect.stringMatching(/is not running/) });
    expect((await engine.inro(["kill", "-s", "NOPE", "kill"])).stderr).toMatch(/[Ii]nvalid signal/);
    await engine.ok("start", "kill");
    expect((await engine.inro(["rm", "kill"])).stderr).toMatch(/running/);
    expect(await engine.ok("rm", "-f", "usr", "term", "kill")).toBe("usr\nterm\nkill");
    expect((await engine.inro(["rm", "kill"])).code).toBe(1);
  });

  test("exec: streams, status, environment, user, directory; pause, top, rename, restart, wait", async () => {
    await engine.ok("run", "-d", "--name", "box", "-e", "OF=box", "busybox", "sleep", "1000");
    const exec = (...args: string[]) => engine.inro(["exec", ...args]);
    expect(await exec("box", "sh", "-c", "echo o; echo e >&2; exit 6")).toEqual({
      code: 6,
      stdout: "o\n",
      stderr: "e\n",
    });
    expect(
      (await exec("-e", "X=1", "-w", "/etc", "-u", "user", "box", "sh", "-c", "echo $OF$X $(pwd) $(id -u)")).stdout,
    ).toBe("box1 /etc 1000\n");
    expect((await engine.inro(["exec", "-i", "box", "wc", "-c"], { stdin: "12345" })).stdout).toBe("5\n");
    const missing = await exec("box", "nope");
    expect({ code: missing.code, stderr: missing.stderr }).toEqual({ code: 127, stderr: "" });
    // As docker tells it, where the process's output would be.
    expect(missing.stdout).toMatch(/nope.*not found.*\r\n$/);
    expect((await exec("box", "/etc/passwd")).code).toBe(126);
    expect(await exec("-d", "box", "sh", "-c", "echo from exec > /made")).toEqual({ code: 0, stdout: "", stderr: "" });
    while ((await exec("box", "test", "-s", "/made")).code !== 0);
    expect((await exec("box", "cat", "/made")).stdout).toBe("from exec\n");
    await engine.ok("pause", "box");
    expect(await engine.ok("ps", "--format", "{{.Status}}", "-f", "name=box")).toMatch(/\(Paused\)$/);
    expect((await exec("box", "true")).stderr).toMatch(/paused/);
    await engine.ok("unpause", "box");
    expect((await lines("top", "box"))[1]).toMatch(/sleep 1000$/);
    await engine.ok("rename", "box", "crate");
    const pid = await engine.ok("inspect", "-f", "{{.State.Pid}}", "crate");
    await engine.ok("restart", "-t", "0", "crate");
    expect(await engine.ok("inspect", "-f", "{{.State.Pid}}", "crate")).not.toBe(pid);
    expect(await engine.ok("exec", "crate", "cat", "/made")).toBe("from exec");
    const waiting = engine.ok("wait", "crate");
    await engine.ok("kill", "crate");
    expect(await waiting).toBe("137");
    expect((await exec("crate", "true")).stderr).toMatch(/is not running/);
    await engine.ok("rm", "crate");
  });

  test("start -a, -i; attach without a terminal ends with the container's status", async () => {
    await engine.ok("create", "-i", "--name", "in", "busybox", "sh", "-c", "read x; echo got $x; exit 5");
    expect(await engine.inro(["start", "-ai", "in"], { stdin: "line\n" })).toMatchObject({
      code: 5,
      stdout: "got line\n",
    });
    await engine.ok("start", "in");
    const attach = engine.spawn(["attach", "in"]);
    const output = new Response(attach.stdout as ReadableStream).text();
    (attach.stdin as Bun.FileSink).write("second\n");
    await (attach.stdin as Bun.FileSink).flush();
    expect(await attach.exited).toBe(5);
    expect(await output).toBe("got second\n");
    await engine.ok("rm", "in");
  });
});
