import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { engineForTests } from "../harness.ts";
import { Box, missing, shell } from "../isolation/container.ts";

const [major = 0, minor = 0] = release().split(".").map(Number);
const shares = major > 6 || (major === 6 && minor >= 15);

describe.skipIf(missing !== "")(`the local driver's options${missing}`, () => {
  const engine = missing ? undefined! : engineForTests();
  const dir = missing ? "" : join(engine.dir, "files");
  beforeAll(() => mkdirSync(dir));
  let count = 0;
  const fresh = (prefix = "vol") => `${prefix}${count++}`;

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
});
