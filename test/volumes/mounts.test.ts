import { afterAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import * as k from "../../src/linux/constants.ts";
import { close, getxattr, openat, setxattr } from "../../src/linux/file.ts";
import { busyboxRoot, engineForTests } from "../harness.ts";
import { Box, missing, shell, until } from "../isolation/container.ts";

const [major = 0, minor = 0] = release().split(".").map(Number);
const shares = major > 6 || (major === 6 && minor >= 15);

describe.skipIf(missing !== "")(`volumes in containers${missing}`, () => {
  const engine = missing ? undefined! : engineForTests();
  const dir = mkdtempSync("/var/tmp/inro-volumes-");
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  let count = 0;
  const fresh = (prefix = "vol") => `${prefix}${count++}`;
  const data = (volume: string) => join(engine.dataRoot, "volumes", volume, "_data");

  /** An image of busybox and what `fill` makes in its root. */
  async function image(fill: (root: string) => void): Promise<string> {
    const root = busyboxRoot(dir);
    fill(root);
    const name = fresh("image");
    const tar = join(dir, `${name}.tar`);
    const { exitCode } = Bun.spawnSync([
      "tar",
      "-C",
      root,
      "--xattrs",
      "--xattrs-include=*",
      "--numeric-owner",
      "-cf",
      tar,
      ".",
    ]);
    expect(exitCode).toBe(0);
    await engine.ok("import", tar, name);
    return name;
  }

  test("an empty volume is filled from the image, with all that a file is", async () => {
    const name = await image((root) => {
      mkdirSync(join(root, "data/sub"), { recursive: true });
      writeFileSync(join(root, "data/one"), "one");
      Bun.spawnSync(
        [
          "sh",
          "-c",
          "ln one two; ln -s one link; ln -s /etc/passwd out; mkfifo fifo; chown 1000:1001 one sub .; chmod 4755 one; chmod 2770 .; touch -d @1000 one",
        ],
        { cwd: join(root, "data") },
      );
      const one = openat(k.AT_FDCWD, join(root, "data/one"), k.O_RDONLY);
      setxattr(one, "user.a", Buffer.from("b"));
      close(one);
    });
    const volume = fresh();
    // Made at create, so that a container of nothing but data serves others.
    await engine.ok("create", "-v", `${volume}:/data`, name, "true");
    const one = statSync(join(data(volume), "one"));
    expect([one.uid, one.gid, one.mode & 0o7777, one.nlink, one.mtimeMs]).toEqual([1000, 1001, 0o4755, 2, 1_000_000]);
    const root = statSync(data(volume));
    expect([root.uid, root.gid, root.mode & 0o7777]).toEqual([1000, 1001, 0o2770]);
    expect(lstatSync(join(data(volume), "out")).isSymbolicLink()).toBe(true);
    expect(lstatSync(join(data(volume), "fifo")).isFIFO()).toBe(true);
    const xattr = openat(k.AT_FDCWD, join(data(volume), "one"), k.O_RDONLY);
    expect(getxattr(xattr, "user.a")?.toString()).toBe("b");
    close(xattr);
    // What is in it stays; an emptied one is not filled again.
    await engine.ok("run", "--rm", "-v", `${volume}:/data`, name, "sh", "-c", "rm -r /data/*; touch /data/own");
    expect(await engine.ok("run", "--rm", "-v", `${volume}:/data`, name, "ls", "/data")).toBe("own");
    const bare = fresh();
    expect(await engine.ok("run", "--rm", "-v", `${bare}:/data:nocopy`, name, "ls", "/data")).toBe("");
    expect(
      await engine.ok("run", "--rm", "--mount", `src=${fresh()},dst=/data,volume-nocopy`, name, "ls", "/data"),
    ).toBe("");
  });

  test("several layers are seen as one, and a whiteout is no file", async () => {
    const name = await image((root) => {
      mkdirSync(join(root, "data"));
      for (const file of ["gone", "kept"]) writeFileSync(join(root, "data", file), file);
    });
    const top = join(dir, "top");
    mkdirSync(join(top, "data"), { recursive: true });
    writeFileSync(join(top, "data/.wh.gone"), "");
    writeFileSync(join(top, "data/new"), "new");
    const stacked = await stack(engine, dir, name, top);
    const volume = fresh();
    expect(await engine.ok("run", "--rm", "-v", `${volume}:/data`, stacked, "ls", "/data")).toBe("kept\nnew");
    expect(
      await engine.ok("run", "--rm", "--mount", `type=image,src=${stacked},dst=/m`, "busybox", "ls", "/m/data"),
    ).toBe("kept\nnew");
    expect(
      await engine.ok(
        "run",
        "--rm",
        "--mount",
        `type=image,src=${stacked},dst=/m,image-subpath=data`,
        "busybox",
        "ls",
        "/m",
      ),
    ).toBe("kept\nnew");
    const write = await engine.inro([
      "run",
      "--rm",
      "--mount",
      `type=image,src=${stacked},dst=/m`,
      "busybox",
      "touch",
      "/m/x",
    ]);
    expect(write.stderr).toContain("Read-only file system");
    // The image is in use as a mount.
    const id = await engine.ok("create", "--mount", `type=image,src=${stacked},dst=/m`, "busybox", "true");
    expect((await engine.inro(["rmi", stacked])).stderr).toContain("conflict");
    await engine.ok("rm", id);
    const none = await engine.inro(["create", "--mount", "type=image,src=none,dst=/m", "busybox", "true"]);
    expect(none.stderr).toContain("No such image: none:latest");
  });

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
      if (code !== 0) expect(stderr).toContain("cannot access path sub");
      else if (stdout !== "inside\n") expect(stdout).toContain("ready\n");
    }
    expect(attacker.pid).toBeGreaterThan(0);
  });

  test.skipIf(!shares)(
    `a tmpfs volume is one for all who run with it${shares ? "" : " (needs Linux 6.15)"}`,
    async () => {
      const volume = fresh();
      await engine.ok(
        "volume",
        "create",
        "-o",
        "type=tmpfs",
        "-o",
        "device=tmpfs",
        "-o",
        "o=size=1m,mode=700,uid=1000,noexec",
        volume,
      );
      const flags = ["-v", `${volume}:/m`];
      {
        await using first = await Box.run(engine, flags);
        await first.sh("echo shared > /m/file");
        expect(
          await shell(
            engine,
            "cat /m/file; stat -c '%a %u' /m; df -k /m | tail -1 | awk '{print $2}'; grep ' /m ' /proc/mounts | grep -o noexec",
            ...flags,
          ),
        ).toBe("shared\n700 1000\n1024\nnoexec");
        // Nobody but the first, and its keeper, has it while no engine runs.
        await engine.kill();
        await engine.start();
        await using second = await Box.run(engine, flags);
        expect(await second.sh("cat /m/file; echo more > /m/file")).toBe("shared");
        expect(await first.sh("cat /m/file")).toBe("more");
        await engine.ok("rm", "-f", first.id);
        expect(await shell(engine, "cat /m/file", ...flags)).toBe("more");
      }
      expect(await shell(engine, "ls /m", ...flags)).toBe("");
      // What would be gone at once is not taken.
      const stopped = await engine.ok("create", ...flags, "busybox", "true");
      const copy = await engine.inro(["cp", import.meta.path, `${stopped}:/m/lost`]);
      expect([copy.code, copy.stderr]).toEqual([1, expect.stringMatching(/read-only/i)]);
      expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(engine.dir);
    },
  );

  test("a bind volume is a directory of the host, which must be there", async () => {
    const host = join(dir, fresh("host"));
    const volume = fresh();
    await engine.ok("volume", "create", "-o", "type=none", "-o", `device=${host}`, "-o", "o=bind,ro", volume);
    const none = await engine.inro(["run", "--rm", "-v", `${volume}:/v`, "busybox", "true"]);
    expect([none.code, none.stderr]).toEqual([
      125,
      expect.stringContaining(`failed to mount local volume: mount ${host}: ENOENT`),
    ]);
    mkdirSync(host);
    writeFileSync(join(host, "file"), "text");
    const look = await engine.inro([
      "run",
      "--rm",
      "-v",
      `${volume}:/v`,
      "busybox",
      "sh",
      "-c",
      "cat /v/file; touch /v/x",
    ]);
    expect([look.stdout, look.stderr]).toEqual(["text", expect.stringContaining("Read-only file system")]);
    await engine.ok("volume", "rm", volume);
    expect(existsSync(join(host, "file"))).toBe(true);
  });

  const noLoop =
    existsSync("/usr/sbin/losetup") && existsSync("/usr/sbin/mkfs.ext4") ? "" : " (needs losetup and mkfs.ext4)";
  test.skipIf(noLoop !== "")(`a file system on a device is mounted in the container alone${noLoop}`, async () => {
    const file = join(dir, "ext4");
    const run = (...command: string[]) => {
      const { exitCode, stdout, stderr } = Bun.spawnSync(command);
      if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
      return stdout.toString().trim();
    };
    run("truncate", "-s", "16M", file);
    run("mkfs.ext4", "-q", file);
    const device = run("losetup", "--find", "--show", file);
    try {
      const volume = fresh();
      await engine.ok(
        "volume",
        "create",
        "-o",
        "type=ext4",
        "-o",
        `device=${device}`,
        "-o",
        "o=noexec,noatime",
        volume,
      );
      {
        await using box = await Box.run(engine, ["-v", `${volume}:/v`]);
        await box.sh("echo text > /v/file");
        expect(await box.sh("grep ' /v ' /proc/mounts")).toMatch(/ ext4 .*noexec.*noatime|ext4 .*noatime.*noexec/);
        // Another one, read-only, of the same superblock.
        const both = await engine.inro([
          "run",
          "--rm",
          "-v",
          `${volume}:/v:ro`,
          "busybox",
          "sh",
          "-c",
          "cat /v/file; touch /v/x",
        ]);
        expect([both.stdout, both.stderr]).toEqual(["text\n", expect.stringContaining("Read-only file system")]);
        expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(device);
      }
      expect(await shell(engine, "cat /v/file", "-v", `${volume}:/v`)).toBe("text");
      const wrong = fresh();
      await engine.ok("volume", "create", "-o", "type=ext4", "-o", `device=${device}`, "-o", "o=nosuchoption", wrong);
      expect((await engine.inro(["run", "--rm", "-v", `${wrong}:/v`, "busybox", "true"])).stderr).toContain(
        "nosuchoption",
      );
    } finally {
      run("losetup", "-d", device);
    }
  });

  test("an engine killed while it fills a volume leaves it empty, and the start fills it", async () => {
    const name = await image((root) => {
      mkdirSync(join(root, "data"));
      for (let i = 0; i < 800; i++) writeFileSync(join(root, "data", `file${i}`), "x");
    });
    const volume = fresh();
    const container = fresh("box");
    const body = { Image: name, Cmd: ["true"], HostConfig: { Binds: [`${volume}:/data`] } };
    const created = engine.api("POST", `/containers/create?name=${container}`, body).catch(() => undefined);
    await until("the copy begins", () => existsSync(join(engine.dataRoot, "volumes", volume, "_data.new")));
    await engine.kill();
    await created;
    await engine.start();
    expect([0, 800]).toContain(readdirSync(data(volume)).length);
    await engine.ok("start", "-a", container);
    expect(readdirSync(data(volume))).toHaveLength(800);
    expect(readdirSync(join(engine.dataRoot, "volumes", volume))).toEqual(["_data"]);
  });

  test("where an image's symlinks lead is in the image", async () => {
    const name = await image((root) => {
      writeFileSync(join(root, "etc/mark"), "the image's");
      Bun.spawnSync(["ln", "-s", "../../../../../../etc", join(root, "data")]);
    });
    const volume = fresh();
    await engine.ok("create", "-v", `${volume}:/data`, name, "true");
    expect(readFileSync(join(data(volume), "mark"), "utf8")).toBe("the image's");
    expect(existsSync(join(data(volume), "passwd"))).toBe(true);
    expect(readFileSync(join(data(volume), "passwd"), "utf8")).not.toContain("daemon");
  });

  test("options of a mount make a volume, and those that cannot be are errors", async () => {
    const volume = fresh();
    const mount = `src=${volume},dst=/v,volume-driver=local,volume-opt=type=tmpfs,volume-opt=device=tmpfs,"volume-opt=o=size=1m,mode=711",volume-label=a=b`;
    if (shares) expect(await shell(engine, "stat -c %a /v", "--mount", mount)).toBe("711");
    expect(await engine.ok("volume", "inspect", "-f", "{{.Labels.a}} {{.Options.o}}", volume)).toBe(
      shares ? "b size=1m,mode=711" : "",
    );
    const run = async (...flags: string[]) => (await engine.inro(["run", "--rm", ...flags, "busybox", "true"])).stderr;
    expect(await run("--mount", `src=${volume},dst=/v,volume-opt=size=1g`)).toContain(
      "exists already with other options",
    );
    expect(await run("--mount", `src=${fresh()},dst=/v,volume-driver=other`)).toContain('plugin "other" not found');
    const file = join(dir, "image-file");
    writeFileSync(file, "");
    const loop = fresh();
    await engine.ok("volume", "create", "-o", "type=ext4", "-o", `device=${file}`, loop);
    expect(await run("-v", `${loop}:/v`)).toContain("is no block device; an image file needs a loop device");
    const unknown = fresh();
    await engine.ok("volume", "create", "-o", "type=nosuchfs", "-o", "device=server:/export", unknown);
    expect(await run("-v", `${unknown}:/v`)).toMatch(/nosuchfs.*ENODEV|ENODEV.*nosuchfs|unknown filesystem/i);
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

/** An image of the layers of another one and a directory, as `docker save` would write it. */
async function stack(
  engine: ReturnType<typeof engineForTests>,
  dir: string,
  base: string,
  top: string,
): Promise<string> {
  const work = mkdtempSync(join(dir, "stack-"));
  const tar = (...args: string[]) => {
    const { exitCode, stderr } = Bun.spawnSync(["tar", ...args]);
    if (exitCode !== 0) throw new Error(`tar: ${stderr}`);
  };
  await engine.ok("save", "-o", join(work, "base.tar"), base);
  tar("-C", work, "-xf", join(work, "base.tar"));
  tar("-C", top, "-cf", join(work, "top.tar"), ".");
  const [manifest] = JSON.parse(readFileSync(join(work, "manifest.json"), "utf8"));
  const config = JSON.parse(readFileSync(join(work, manifest.Config), "utf8"));
  config.rootfs.diff_ids.push(
    `sha256:${new Bun.CryptoHasher("sha256").update(readFileSync(join(work, "top.tar"))).digest("hex")}`,
  );
  delete config.history;
  writeFileSync(join(work, "config.json"), JSON.stringify(config));
  const name = `${base}-stacked:latest`;
  writeFileSync(
    join(work, "manifest.json"),
    JSON.stringify([{ Config: "config.json", RepoTags: [name], Layers: [...manifest.Layers, "top.tar"] }]),
  );
  tar("-C", work, "-cf", join(dir, "stacked.tar"), "manifest.json", "config.json", "top.tar", ...manifest.Layers);
  await engine.ok("load", "-i", join(dir, "stacked.tar"));
  return name;
}
