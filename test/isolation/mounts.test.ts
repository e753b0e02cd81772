import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { engineForTests } from "../harness.ts";
import { Box, missing, shell } from "./container.ts";

const mountinfo = (pid: number | "self" = "self") => readFileSync(`/proc/${pid}/mountinfo`, "utf8");

describe.skipIf(missing !== "")(`mounts${missing}`, async () => {
  const engine = missing ? undefined! : engineForTests();
  const dir = mkdtempSync("/var/tmp/inro-mounts-");
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const host = (...command: string[]) => {
    const { exitCode, stderr } = Bun.spawnSync(command);
    if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
  };
  let count = 0;
  const fresh = () => {
    const path = join(dir, String(count++));
    mkdirSync(path);
    return path;
  };
  /** A mount on the host that shares what is mounted below it; gone at the end of the block. */
  function sharedMount(): { path: string } & Disposable {
    const path = fresh();
    host("mount", "-t", "tmpfs", "inro-test", path);
    host("mount", "--make-shared", path);
    mkdirSync(join(path, "host"));
    mkdirSync(join(path, "box"));
    return {
      path,
      [Symbol.dispose]: () => {
        for (const below of ["host", "box"]) Bun.spawnSync(["umount", "-l", join(path, below)]);
        host("umount", "-l", path);
      },
    };
  }

  test("no way of chroot leads out of the root", async () => {
    writeFileSync(join(dir, "outside"), "");
    const look = `ls -d ./${dir}/outside ./bin; cd ../../../../../../..; ls -d ./${dir}/outside ./bin; pwd`;
    // Out of a chroot of its own by a descriptor from before, then up as far as it goes, and chroot again.
    const script = [
      "mkdir -p /x/proc /x/bin; cp /bin/busybox /x/bin; mount -t proc proc /x/proc; exec 9< /",
      `chroot /x /bin/busybox sh -c 'cd -P /proc/self/fd/9 && cd -P ../../../../../.. && exec chroot . sh -c "${look}"'`,
    ].join("\n");
    for (const flags of [["--cap-add", "SYS_ADMIN"], ["--privileged"]]) {
      const { stdout, stderr } = await engine.sh(script, ...flags);
      expect([stdout, stderr.match(/No such file/g)?.length]).toEqual(["./bin\n./bin\n/\n", 2]);
    }
    expect(await shell(engine, `chroot . sh -c '${look}' 2> /dev/null`)).toBe("./bin\n./bin\n/");
  });

  test("the host's tree is gone, not just out of sight", async () => {
    await using box = await Box.run(engine);
    const roots = mountinfo(box.pid)
      .trim()
      .split("\n")
      .map((line) => line.split(" "));
    expect(roots.filter((fields) => fields[4] === "/").map((fields) => fields[8] ?? fields[7])).toHaveLength(1);
    // Every mount lies below the container's own root.
    const root = roots.find((fields) => fields[4] === "/")?.[0];
    const ids = new Map(roots.map((fields) => [fields[0], fields[1]]));
    for (const [id, parent] of ids) expect(id === root || ids.has(parent), `${id} of ${parent}`).toBe(true);
  });

  test("the host's mount table is the same before, during and after", async () => {
    const watch = async () => {
      const tables = [mountinfo()];
      {
        await using box = await Box.run(engine, ["-v", `${fresh()}:/mnt`, "--tmpfs", "/t", "--cap-add", "SYS_ADMIN"]);
        await box.sh("mkdir /m; mount -t tmpfs x /m");
        expect(mountinfo(box.pid)).toContain(" /m ");
        tables.push(mountinfo());
      }
      tables.push(mountinfo());
      return new Set(tables).size === 1;
    };
    // Others may mount something at the same time: what a container leaks, it leaks each time.
    expect((await watch()) || (await watch()) || (await watch())).toBe(true);
  });

  test("mount is refused without SYS_ADMIN", async () => {
    expect((await engine.sh("mkdir /m; mount -t tmpfs x /m")).stderr).toContain("ermi");
    expect((await engine.sh("umount /proc/sys")).stderr).toContain("ermi");
  });

  test("-v binds a directory both ways", async () => {
    const path = fresh();
    writeFileSync(join(path, "in"), "in");
    expect(await shell(engine, "cat /mnt/in; echo -n out > /mnt/out", "-v", `${path}:/mnt`)).toBe("in");
    expect(readFileSync(join(path, "out"), "utf8")).toBe("out");
  });

  test("-v …:ro refuses to be written, and what is mounted below it too", async () => {
    using shared = sharedMount();
    host("mount", "-t", "tmpfs", "below", join(shared.path, "host"));
    const { stderr } = await engine.sh(
      "touch /mnt/x; touch /mnt/host/x; mount -o remount,rw /mnt; touch /mnt/y",
      "-v",
      `${shared.path}:/mnt:ro`,
    );
    expect(stderr.match(/Read-only file system/g)).toHaveLength(3);
  });

  test("a file is bound over a file that is there, and over none", async () => {
    const path = join(fresh(), "file");
    writeFileSync(path, "content\n");
    expect(
      await shell(engine, "cat /etc/passwd /new/file", "-v", `${path}:/etc/passwd`, "-v", `${path}:/new/file:ro`),
    ).toBe("content\ncontent");
  });

  test("a missing source is made for -v, and an error for --mount", async () => {
    const path = fresh();
    await shell(engine, "touch /mnt/x", "-v", `${path}/made/deep:/mnt`);
    expect(existsSync(`${path}/made/deep/x`)).toBe(true);
    const { code, stderr } = await engine.sh("true", "--mount", `type=bind,src=${path}/none,dst=/mnt`);
    expect(code).toBe(125);
    expect(stderr).toContain(`bind source path does not exist: ${path}/none`);
    expect(existsSync(`${path}/none`)).toBe(false);
  });

  test("--mount type=bind, read-only and not recursive", async () => {
    using shared = sharedMount();
    host("mount", "-t", "tmpfs", "below", join(shared.path, "host"));
    writeFileSync(join(shared.path, "host/f"), "");
    const mount = `type=bind,source=${shared.path},target=/mnt`;
    expect(await shell(engine, "ls /mnt/host", "--mount", mount)).toBe("f");
    expect(await shell(engine, "ls /mnt/host", "--mount", `${mount},bind-recursive=disabled`)).toBe("");
    expect((await engine.sh("touch /mnt/x", "--mount", `${mount},readonly`)).stderr).toContain("Read-only");
    expect(
      (await engine.sh("touch /mnt/host/x && touch /mnt/x", "--mount", `${mount},readonly,bind-recursive=writable`))
        .stderr,
    ).toContain("/mnt/x: Read-only");
    expect(existsSync(join(shared.path, "host/x"))).toBe(true);
  });

  test("--tmpfs has docker's options and those given", async () => {
    const line = await shell(
      engine,
      "grep ' /t ' /proc/self/mounts; touch /t/x; stat -c %a /t",
      "--tmpfs",
      "/t:size=1m,mode=700",
    );
    expect(line).toMatch(/^tmpfs \/t tmpfs rw,nosuid,nodev,noexec,relatime,size=1024k,mode=700/);
    expect(line).toEndWith("700");
    expect((await engine.sh("dd if=/dev/zero of=/t/x bs=1M count=2", "--tmpfs", "/t:size=1m")).stderr).toContain(
      "No space left",
    );
  });

  test("--mount type=tmpfs with size and mode", async () => {
    const mount = "type=tmpfs,destination=/t,tmpfs-size=65536,tmpfs-mode=1770";
    expect(await shell(engine, "grep ' /t ' /proc/self/mounts", "--mount", mount)).toMatch(/size=64k,mode=1770/);
  });

  test("/dev/shm has --shm-size", async () => {
    expect(await shell(engine, "df -k /dev/shm | tail -n 1", "--shm-size", "2m")).toMatch(/ 2048 /);
    expect(await shell(engine, "df -k /dev/shm | tail -n 1")).toMatch(/ 65536 /);
  });

  test.each([
    ["rprivate", false, false],
    ["rslave", true, false],
    ["rshared", true, true],
  ])("propagation %s: in %p, out %p", async (mode, goesIn, comesOut) => {
    using shared = sharedMount();
    await using box = await Box.run(engine, ["-v", `${shared.path}:/mnt:${mode}`, "--cap-add", "SYS_ADMIN"]);
    host("mount", "-t", "tmpfs", "from-host", join(shared.path, "host"));
    await box.sh("mount -t tmpfs from-box /mnt/box");
    expect(mountinfo(box.pid).includes(" /mnt/host ")).toBe(goesIn);
    expect(mountinfo().includes(` ${shared.path}/box `)).toBe(comesOut);
    expect(mountinfo(box.pid)).toContain(" /mnt/box ");
    if (comesOut) {
      await box.sh("umount /mnt/box");
      expect(mountinfo()).not.toContain(` ${shared.path}/box `);
    }
  });

  test("--mount bind-propagation, and a source that cannot share is refused", async () => {
    using shared = sharedMount();
    host("mount", "--make-private", shared.path);
    const { code, stderr } = await engine.sh(
      "true",
      "--mount",
      `type=bind,src=${shared.path},dst=/mnt,bind-propagation=rshared`,
    );
    expect([code, stderr]).toEqual([125, expect.stringContaining("it is not a shared mount")]);
  });

  test("--read-only closes the root, not what is mounted", async () => {
    const { stdout, stderr } = await engine.sh(
      "touch /x; touch /etc/x; touch /t/x /dev/shm/x /mnt/x && echo ok",
      ...["--read-only", "--tmpfs", "/t", "-v", `${fresh()}:/mnt`],
    );
    expect(stdout).toBe("ok\n");
    expect(stderr.match(/Read-only file system/g)).toHaveLength(2);
  });

  test("what a container writes is in no other container of the image", async () => {
    await shell(engine, "echo x > /written; rm /etc/group");
    expect(await shell(engine, "ls -d /written /etc/group 2>/dev/null; true")).toBe("/etc/group");
  });

  test("nothing may be mounted over / or inside /proc", async () => {
    for (const target of ["/", "/proc/1", "/proc/sys/kernel"]) {
      const { code, stderr } = await engine.sh("true", "-v", `${fresh()}:${target}`);
      expect([target, code]).toEqual([target, 125]);
      expect(stderr).toContain(target);
    }
  });
});
