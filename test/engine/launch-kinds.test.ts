import { describe, expect, test } from "bun:test";
import { closeSync, mkdirSync, openSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const reason = !isRoot ? "needs root" : !hasBusybox ? "needs busybox-static" : undefined;

/** Containers that differ in nothing but their id share the program of their launch. */
describe.skipIf(reason !== undefined)(`launches of one kind${reason ? ` (skipped: ${reason})` : ""}`, () => {
  const engine = engineForTests();
  const create = (...args: string[]) =>
    engine.ok("create", "-u", "user", ...args, "busybox", "sh", "-c", "id -u; hostname");
  const run = async (id: string) => {
    const { stdout } = await engine.inro(["start", "-a", id]);
    return stdout.trim().split("\n");
  };

  test("each has its own host name, files and cgroup", async () => {
    const ids = [await create(), await create(), await create()];
    for (const id of ids) expect(await run(id)).toEqual(["1000", id.slice(0, 12)]);
    const [, second = ""] = ids;
    expect(await run(second)).toEqual(["1000", second.slice(0, 12)]);
    const sleeper = () => engine.ok("run", "-d", "busybox", "sleep", "1000");
    for (const id of [await sleeper(), await sleeper()]) {
      const pid = await engine.ok("inspect", "-f", "{{.State.Pid}}", id);
      expect(readFileSync(`/proc/${pid}/cgroup`, "utf8")).toContain(`/${id}`);
      expect(await engine.ok("exec", id, "cat", "/etc/hostname")).toBe(id.slice(0, 12));
      expect(await engine.ok("exec", id, "grep", "-c", id.slice(0, 12), "/etc/hosts")).toBe("1");
    }
  });

  test("each run has a network namespace that nobody had before, made ahead or not", async () => {
    const used = new Set([readlinkSync("/proc/self/ns/net")]);
    // Open, so that the kernel gives none of the numbers again.
    const held: number[] = [];
    const id = await engine.ok("create", "--network", "none", "busybox", "sleep", "1000");
    for (let run = 0; run < 3; run++) {
      await engine.ok("start", id);
      const pid = await engine.ok("inspect", "-f", "{{.State.Pid}}", id);
      held.push(openSync(`/proc/${pid}/ns/net`, "r"));
      used.add(readlinkSync(`/proc/self/fd/${held.at(-1)}`));
      expect(used.size).toBe(2 + run);
      const addresses = await engine.ok(
        "exec",
        "--privileged",
        id,
        "sh",
        "-c",
        "ip addr add 10.9.9.9/32 dev lo; ip -o -4 addr",
      );
      expect(addresses.match(/inet \S+/g)).toEqual(["inet 127.0.0.1/8", "inet 10.9.9.9/32"]);
      // The one of the next run is there while this one's lives.
      if (run === 1) await engine.ok("run", "-d", "--network", "none", "busybox", "sleep", "1000");
      await engine.ok("kill", id);
    }
    for (const fd of held) closeSync(fd);
    const joins = async (...flags: string[]) => {
      // Beside this one the next is made.
      await engine.ok("run", "--rm", "--network", "none", "busybox", "true");
      const steps = await engine.ok("explain", "run", "--network", "none", ...flags, "busybox", "true");
      return steps.includes("setns(<network namespace>, CLONE_NEWNET)");
    };
    expect(await joins()).toBe(true);
    // Where the container has a user namespace of its own, that is to own it.
    expect(await joins("--userns", "private")).toBe(false);
  });

  test("what is in a container's own layer before its first start counts", async () => {
    await run(await create());
    const id = await create();
    const etc = join(engine.dataRoot, "containers", id, "upper/etc");
    mkdirSync(etc);
    writeFileSync(join(etc, "passwd"), "user:x:1234:1234:user:/:/bin/sh\n");
    expect(await run(id)).toEqual(["1234", id.slice(0, 12)]);
  });

  test("a command that cannot run is told of in the second launch as in the first", async () => {
    const texts = [];
    for (let i = 0; i < 2; i++) {
      const { code, stderr } = await engine.inro(["run", "--rm", "busybox", "nope"]);
      expect(code).toBe(127);
      texts.push(stderr);
    }
    expect(texts[1]).toBe(texts[0]!);
    expect(texts[0]).toContain("nope");
  });
});
