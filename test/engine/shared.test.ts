import { describe, expect, test } from "bun:test";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const why = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";

describe.skipIf(why !== "")(`what containers share with another${why && ` (${why})`}`, async () => {
  if (why) return;
  const engine = engineForTests();
  const run = (...args: string[]) => engine.inro(["run", "--rm", ...args]);

  test("--ipc container: one /dev/shm for both, at any time of the other's life", async () => {
    await engine.ok(
      "run",
      "-d",
      "--name",
      "donor",
      "--ipc",
      "shareable",
      "--shm-size",
      "8m",
      "busybox",
      "sleep",
      "1000",
    );
    await engine.ok("exec", "donor", "sh", "-c", "echo of the donor > /dev/shm/f");
    const there = await run(
      ...["--ipc", "container:donor", "--read-only", "busybox", "sh", "-c"],
      "cat /dev/shm/f; echo of the other > /dev/shm/g; df -k /dev/shm | tail -1; grep ' /dev/shm ' /proc/mounts",
    );
    const [said, size, mounted] = there.stdout.split("\n");
    expect([there.code, said, there.stderr]).toEqual([0, "of the donor", ""]);
    expect(size).toMatch(/^shm +8192 /);
    for (const option of ["rw", "nosuid", "nodev", "noexec"])
      expect(mounted!.split(" ")[3]!.split(",")).toContain(option);
    expect(await engine.ok("exec", "donor", "cat", "/dev/shm/g")).toBe("of the other");
    // It is the donor's mount of it that is shared, not what the donor puts over it or beside it later.
    await engine.ok("run", "-d", "--name", "joined", "--ipc", "container:donor", "busybox", "sleep", "1000");
    await engine.ok("restart", "-t", "0", "joined");
    expect(await engine.ok("exec", "joined", "cat", "/dev/shm/f")).toBe("of the donor");
    // And of one that has joined, as it is one with the donor.
    expect((await run("--ipc", "container:joined", "busybox", "cat", "/dev/shm/f")).stdout).toBe("of the donor\n");
    await engine.ok("rm", "-f", "donor");
    expect(await engine.ok("exec", "joined", "cat", "/dev/shm/g")).toBe("of the other");
    await engine.ok("rm", "-f", "joined");
    expect((await engine.inro(["system", "check"])).stdout).toBe("no leaks found\n");
  });

  test("the other is known by its id: renamed, it is still the same", async () => {
    const id = await engine.ok("run", "-d", "--name", "first", "--ipc", "shareable", "busybox", "sleep", "1000");
    const modes = ["--network", "--pid", "--ipc"].flatMap((flag) => [flag, "container:first"]);
    const joined = await engine.ok("create", ...modes, "busybox", "true");
    const format = "{{.HostConfig.NetworkMode}} {{.HostConfig.PidMode}} {{.HostConfig.IpcMode}}";
    expect(await engine.ok("inspect", "-f", format, joined)).toBe(Array(3).fill(`container:${id}`).join(" "));
    await engine.ok("rename", "first", "second");
    await engine.ok("start", "-a", joined);
    // One that is not there yet may come, for its network.
    const early = await engine.ok("create", "--network", "container:later", "busybox", "true");
    expect(await engine.ok("inspect", "-f", "{{.HostConfig.NetworkMode}}", early)).toBe("container:later");
    const pid = await engine.inro(["create", "--pid", "container:later", "busybox", "true"]);
    expect(pid.stderr).toContain("No such container: later");
    await engine.ok("rm", "-f", joined, early, "second");
  });

  test("a /dev/shm that its container has made a symlink of leads nowhere", async () => {
    const script = "umount /dev/shm; rmdir /dev/shm; ln -s / /dev/shm; echo ready; sleep 1000";
    await engine.ok("run", "-d", "--name", "evil", "--ipc", "shareable", "--privileged", "busybox", "sh", "-c", script);
    while (!(await engine.ok("logs", "evil")).includes("ready")) await engine.api("GET", "/_ping");
    const refused = await run("--ipc", "container:evil", "busybox", "ls", "/dev/shm");
    expect([refused.code, refused.stderr]).toEqual([expect.any(Number), expect.stringContaining("/dev/shm: ELOOP")]);
    expect(refused.code).not.toBe(0);
    expect(refused.stdout).toBe("");
    await engine.ok("rm", "-f", "evil");
  });

  test("--ipc container: of one that is not shareable, as is the default, is refused in docker's words", async () => {
    for (const mode of ["private", "none", ""]) {
      const own = mode === "" ? [] : ["--ipc", mode];
      await engine.ok("run", "-d", "--name", "closed", ...own, "busybox", "sleep", "1000");
      const refused = await run("--ipc", "container:closed", "busybox", "true");
      await engine.ok("rm", "-f", "closed");
      expect([mode, refused.code, refused.stderr]).toEqual([
        mode,
        125,
        expect.stringContaining("non-shareable IPC (hint: use IpcMode:shareable for the donor container)"),
      ]);
    }
    expect(await engine.ok("ps", "-aq")).toBe("");
  });
});
