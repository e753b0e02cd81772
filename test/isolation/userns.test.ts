import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { engineForTests } from "../harness.ts";
import { Box, missing, shell } from "./container.ts";

const [major = 0, minor = 0] = release().split(".").map(Number);
const why = missing || (major > 6 || (major === 6 && minor >= 5) ? "" : " (needs Linux 6.5)");

describe.skipIf(why !== "")(`--userns auto${why}`, async () => {
  const engine = why ? undefined! : engineForTests();
  const AUTO = ["--userns", "auto"];
  const dir = mkdtempSync("/var/tmp/inro-userns-");
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const mapOf = (pid: number, file: string) =>
    readFileSync(`/proc/${pid}/${file}`, "utf8").trim().split(/\s+/).map(Number);
  const upper = (box: Box, path: string) => statSync(join(engine.dataRoot, "containers", box.id, "upper", path));

  test("root is an id of the host from 100000 on, which no other container has", async () => {
    await using one = await Box.run(engine, AUTO);
    await using two = await Box.run(engine, AUTO);
    const maps = [one, two].map(({ pid }) => mapOf(pid, "uid_map"));
    for (const [inside, outside, size] of maps) {
      expect(inside).toBe(0);
      expect(outside).toBeGreaterThanOrEqual(100_000);
      expect(size).toBe(65_536);
    }
    expect(Math.abs(maps[0]![1]! - maps[1]![1]!)).toBeGreaterThanOrEqual(65_536);
    expect(mapOf(one.pid, "gid_map")).toEqual(maps[0]!);
    expect(one.status("Uid").split("\t")).toEqual(Array(4).fill(String(maps[0]![1])));
    expect(readlinkSync(`/proc/${one.pid}/ns/user`)).not.toBe(readlinkSync("/proc/self/ns/user"));
  });

  test("the namespaces belong to the user namespace", async () => {
    await using box = await Box.run(engine, [...AUTO, "--cap-add", "SYS_ADMIN"]);
    expect(await box.sh("mkdir /m && mount -t tmpfs x /m && hostname inside && hostname")).toBe("inside");
  });

  test("files of the image are root's inside, what is written is the mapped id's on the host", async () => {
    await using box = await Box.run(engine, AUTO);
    const [, first = 0] = mapOf(box.pid, "uid_map");
    expect(await box.sh("stat -c '%u %g' / /bin /bin/busybox /etc/passwd /home/user | sort -u")).toBe("0 0");
    await box.sh("touch /mine; mkdir /home/user/d; chown 1000:44 /home/user/d; echo x >> /etc/group");
    expect(await box.sh("stat -c '%u %g' /mine /home/user/d /etc/group")).toBe("0 0\n1000 44\n0 0");
    expect([upper(box, "mine").uid, upper(box, "mine").gid]).toEqual([first, first]);
    expect([upper(box, "home/user/d").uid, upper(box, "home/user/d").gid]).toEqual([first + 1000, first + 44]);
    expect(upper(box, "etc/group").uid).toBe(first);
  });

  test("the image itself keeps its owners", async () => {
    await shell(engine, "chown -R 1000 /etc", ...AUTO);
    expect(await shell(engine, "stat -c %u /etc/passwd")).toBe("0");
  });

  test("a bind keeps its owners, both ways", async () => {
    const path = join(dir, "bind");
    mkdirSync(path);
    writeFileSync(join(path, "of-root"), "");
    expect(
      await shell(
        engine,
        "stat -c %u /mnt/of-root; touch /mnt/new; chown 1000 /mnt/new; stat -c %u /mnt/new",
        "-v",
        `${path}:/mnt`,
        ...AUTO,
      ),
    ).toBe("0\n1000");
    expect(statSync(join(path, "new")).uid).toBe(1000);
  });

  test("nothing of the host is root's to change", async () => {
    const { stderr } = await engine.sh(
      "echo 1 > /proc/sys/kernel/panic; mount -o remount,rw /sys; mknod /d c 1 3",
      ...AUTO,
      "--cap-add",
      "ALL",
    );
    expect(stderr.match(/Read-only|ermission denied|not permitted/gi)?.length).toBeGreaterThanOrEqual(3);
  });

  test("standard devices and --device work, terminals too", async () => {
    expect(await shell(engine, "head -c 3 /dev/zero | wc -c; echo x > /dev/null && echo ok", ...AUTO)).toBe("3\nok");
    expect((await engine.sh(": <> /dev/mine", ...AUTO, "--device", "/dev/null:/dev/mine")).code).toBe(0);
    expect((await shell(engine, "tty; echo x > /dev/console", ...AUTO, "-t")).replaceAll("\r", "")).toMatch(
      /^\/dev\/(pts\/0|console)\nx$/,
    );
  });

  test("exec is in the namespace, as its root or another user", async () => {
    await using box = await Box.run(engine, AUTO);
    expect(await box.sh("readlink /proc/self/ns/user; stat -c %u /proc/self/")).toBe(
      await box.sh("readlink /proc/1/ns/user; echo 0"),
    );
    expect(await box.sh("id -u; touch /home/user/x 2>&1 || true", "-u", "user")).toMatch(/^1000\n.*denied/);
    expect(await box.sh("grep CapBnd /proc/self/status")).toBe(await box.sh("grep CapBnd /proc/1/status"));
  });

  test("a user of the container, and one whom the namespace lacks", async () => {
    expect(await shell(engine, "id -u; id -g", ...AUTO, "-u", "user")).toBe("1000\n1000");
    const { code, stderr } = await engine.sh("true", ...AUTO, "-u", "70000");
    expect([code, stderr]).toEqual([125, expect.stringContaining("outside of the container's user namespace")]);
  });

  test("the ids stay the same over a restart", async () => {
    const id = await engine.ok("run", "-d", ...AUTO, "busybox", "sh", "-c", "touch /x; stat -c %u /x; sleep 1000");
    const map = async () => mapOf(Number(await engine.ok("inspect", "-f", "{{.State.Pid}}", id)), "uid_map");
    const before = await map();
    await engine.ok("restart", "-t", "0", id);
    expect(await map()).toEqual(before);
    await engine.ok("rm", "-f", id);
  });

  test("limits, the filter and the masks hold", async () => {
    expect(
      (
        await engine.sh(
          "dd if=/dev/zero of=/dev/null bs=64M count=1; exit $?",
          ...AUTO,
          "-m",
          "16m",
          "--memory-swap",
          "16m",
        )
      ).code,
    ).toBe(137);
    expect(await shell(engine, "grep Seccomp: /proc/self/status; cat /proc/keys; ls /sys/firmware", ...AUTO)).toBe(
      "Seccomp:\t2",
    );
  });

  test.each([["--privileged"], ["--network", "host"], ["--pid", "host"]].map((flags) => [flags] as const))(
    "%p is refused with it",
    async (flags) => {
      expect((await engine.sh("true", ...AUTO, ...flags)).code).toBe(125);
    },
  );
});
