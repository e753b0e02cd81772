import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
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
