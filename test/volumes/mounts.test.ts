import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { engineForTests } from "../harness.ts";
import { Box, missing, shell, until } from "../isolation/container.ts";

describe.skipIf(missing !== "")(`mounts of containers${missing}`, () => {
  const engine = missing ? undefined! : engineForTests();
  const dir = missing ? "" : join(engine.dir, "files");
  beforeAll(() => mkdirSync(dir));
  let count = 0;
  const fresh = (prefix = "vol") => `${prefix}${count++}`;
  const data = (volume: string) => join(engine.dataRoot, "volumes", volume, "_data");

  test("volumes-from gives another container's mounts, at most as writable", async () => {
    const host = join(dir, fresh("host"));
    mkdirSync(host);
    const source = await engine.ok(
      "create",
      "-v",
      "/anon",
      "-v",
      `${fresh()}:/named`,
      "-v",
      `${host}:/host:ro`,
      "busybox",
      "true",
    );
    const look = "touch /anon/a /named/b; ls /anon /named; touch /host/x";
    const both = await engine.inro(["run", "--rm", "--volumes-from", source, "busybox", "sh", "-c", look]);
    expect(both.stdout).toBe("/anon:\na\n\n/named:\nb\n");
    expect(both.stderr).toContain("/host/x: Read-only file system");
    const ro = await engine.inro(["run", "--rm", "--volumes-from", `${source}:ro`, "busybox", "touch", "/anon/c"]);
    expect(ro.stderr).toContain("Read-only file system");
    // Its own mount wins.
    expect(await shell(engine, "ls /anon", "--volumes-from", source, "--tmpfs", "/anon")).toBe("");
    const fail = async (from: string) =>
      (await engine.inro(["create", "--volumes-from", from, "busybox", "true"])).stderr;
    expect(await fail("none")).toContain("No such container: none");
    expect(await fail(`${source}:fast`)).toContain("invalid mode: fast");
    // The anonymous volume goes with its last user.
    const user = await engine.ok("create", "--volumes-from", source, "busybox", "true");
    const [name] = (
      await engine.ok("inspect", "-f", '{{range .Mounts}}{{if eq .Destination "/anon"}}{{.Name}}{{end}}{{end}}', user)
    ).split("\n");
    await engine.ok("rm", "-v", source);
    expect(existsSync(data(name!))).toBe(true);
    await engine.ok("rm", "-v", user);
    expect((await engine.inro(["volume", "inspect", name!])).code).toBe(1);
  });

  test("a subpath must exist, and a symlink in it leads nowhere else", async () => {
    const volume = fresh();
    await shell(
      engine,
      "mkdir -p /v/a/b; echo x > /v/a/b/file; ln -s ../../../../bin /v/etc; ln -s a /v/link",
      "-v",
      `${volume}:/v`,
    );
    const sub = (path: string) => ["--mount", `src=${volume},dst=/s,volume-subpath=${path}`];
    expect(await shell(engine, "ls /s", ...sub("a/b"))).toBe("file");
    expect(await shell(engine, "ls /s", ...sub("link/b"))).toBe("file");
    expect(await shell(engine, "cat /s", ...sub("a/b/file"))).toBe("x");
    const fail = async (path: string) => (await engine.inro(["run", "--rm", ...sub(path), "busybox", "true"])).stderr;
    expect(await fail("etc")).toContain(`cannot access path etc in ${volume}: ENOENT`);
    expect(await fail("none")).toContain("ENOENT");
    expect(await fail("../a")).toContain("subpath must be a relative path within the volume");
  });

  test("a subpath that another container swaps for a symlink never leads out of the volume", async () => {
    const volume = fresh();
    const swap =
      "cd /v; mkdir -p sub; touch sub/inside; ln -s ../../../../../../../.. up; touch /v/ready; while :; do mv -T sub dir; mv -T up sub; mv -T sub up; mv -T dir sub; done";
    await using attacker = await Box.run(engine, ["-v", `${volume}:/v`], swap);
    await until("it swaps", () => existsSync(join(data(volume), "ready")));
    const look = ["run", "--rm", "--mount", `src=${volume},dst=/s,volume-subpath=sub`, "busybox", "ls", "/s"];
    const seen = await Promise.all(Array.from({ length: 6 }, () => engine.inro(look)));
    // The directory, the volume (which is the top of all that is in it), or nothing that could be mounted.
    for (const { code, stdout, stderr } of seen) {
      if (stdout.includes("ready\n") || stdout === "inside\n") continue;
      expect([code, stderr]).toEqual([expect.any(Number), expect.stringContaining("cannot access path sub")]);
    }
    expect(attacker.pid).toBeGreaterThan(0);
  });

  test("tmpfs options, and events of volumes", async () => {
    const body = {
      Image: "busybox",
      Cmd: ["sh", "-c", "stat -c '%a %u' /t; grep ' /t ' /proc/mounts"],
      HostConfig: {
        Mounts: [{ Type: "tmpfs", Target: "/t", TmpfsOptions: { Mode: 0o711, Options: [["exec"], ["uid", "7"]] } }],
      },
    };
    const { Id } = (await (await engine.api("POST", "/containers/create", body)).json()) as { Id: string };
    const lines = (await engine.ok("start", "-a", Id)).split("\n");
    expect([lines[0], lines[1]!.includes("noexec")]).toEqual(["711 7", false]);
    const wrong = structuredClone(body);
    wrong.HostConfig.Mounts[0]!.TmpfsOptions.Options = [["exec", "a", "b"]];
    expect((await engine.api("POST", "/containers/create", wrong)).status).toBe(400);

    const volume = fresh();
    const since = Date.now() / 1000;
    await shell(engine, "true", "-v", `${volume}:/v:ro`);
    await engine.ok("volume", "rm", volume);
    const until = Date.now() / 1000 + 0.001;
    const answer = await engine.api("GET", `/events?since=${since}&until=${until}&filters={"volume":["${volume}"]}`);
    const events = (await answer.text())
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(events.map(({ Action }) => Action)).toEqual(["create", "mount", "unmount", "destroy"]);
    expect(events[1].Actor.Attributes).toMatchObject({ destination: "/v", driver: "local", "read/write": "false" });
  });

  test("owners in a user namespace are the volume's own", async () => {
    const volume = fresh();
    await shell(engine, "touch /v/mine; chown 1000 /v/mine", "-v", `${volume}:/v`);
    expect(await shell(engine, "stat -c %u /v/mine; touch /v/new", "--userns", "auto", "-v", `${volume}:/v`)).toBe(
      "1000",
    );
    expect(statSync(join(data(volume), "new")).uid).toBe(0);
  });
});
