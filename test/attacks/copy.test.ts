import { describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { command, engineForTests, hasBusybox, isRoot } from "../harness.ts";
import { type Member, rawTar } from "../images/hostile-tar.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`copies under attack${why && ` (${why})`}`, () => {
  const engine = engineForTests();

  test("CVE-2018-15664: a directory that turns into a symlink to the host's, all the time", async () => {
    const outside = join(engine.dir, "outside");
    const shared = join(engine.dir, "shared");
    const link = join(shared, "link");
    mkdirSync(outside);
    writeFileSync(join(outside, "f"), "secret");
    for (const [flags, target] of [
      [["run", "-d"], outside],
      [["run", "-d"], `../../../../../..${outside}`],
      [["create"], outside],
    ] as const) {
      mkdirSync(join(shared, "d"), { recursive: true });
      writeFileSync(join(shared, "d/f"), "inside");
      symlinkSync(target, link);
      await engine.ok(...flags, "--name", "swap", "-v", `${shared}:/vol`, "busybox", "sleep", "1000");
      // A connection cut is an archive that broke off: its directory is none any more.
      const api = (method: string, path: string, body?: Uint8Array) =>
        engine
          .api(method, `/containers/swap/archive?path=${path}`, body)
          .then((answer) => answer.text())
          .catch(() => "");
      // Where the symlink leads is there inside too, so that nothing ends early.
      await api("PUT", "/", rawTar([{ name: `${outside.slice(1)}/f`, body: "also inside" }]));
      const swapper = Bun.spawn([process.execPath, join(import.meta.dir, "swap.child.ts"), join(shared, "d"), link], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      try {
        await swapper.stdout.getReader().read();
        const members = Array.from({ length: 150 }, (_, i): Member[] => [
          { name: `d/new${i}/x`, body: "x" },
          { name: `d/link${i}`, type: "1", link: "d/f" },
        ]);
        await api("PUT", "/vol", rawTar(members.flat()));
        await api("PUT", "/vol/d", rawTar([{ name: "new", body: "x" }]));
        for (const path of ["/vol/d/f", "/vol/d/.", "/vol/d/f"]) {
          expect((await api("GET", path)).includes("secret")).toBe(false);
        }
      } finally {
        swapper.kill("SIGKILL");
        await swapper.exited;
      }
      await engine.ok("rm", "-f", "swap");
      expect(readdirSync(outside)).toEqual(["f"]);
      expect(readFileSync(join(outside, "f"), "utf8")).toBe("secret");
      rmSync(shared, { recursive: true });
    }
  });

  test("what a container makes of its files while they are copied out does nothing to ours", async () => {
    const to = join(engine.dir, "out");
    mkdirSync(to);
    const script =
      "mkdir /a && echo f >/a/f && ln -s /etc /l && while :; do mv /a /b; mv /l /a; mv /a /l; mv /b /a; done";
    await engine.ok("run", "-d", "--name", "turning", "busybox", "sh", "-c", script);
    await Promise.all(
      Array.from({ length: 3 }, async (_, i) => {
        // Whichever it is at the moment, or nothing.
        await engine.inro(["cp", "turning:/a", join(to, `n${i}`)]);
        await Bun.spawn([...command, "cp", "-L", "turning:/a", join(to, `l${i}`)], {
          env: { ...process.env, INRO_HOST: engine.host },
          stdio: ["ignore", "ignore", "ignore"],
        }).exited;
      }),
    );
    const list = Bun.spawnSync(["find", to, "-type", "f"]).stdout.toString();
    expect(list).not.toContain("shadow");
    // A passwd that arrived is the container's.
    for (const path of list.split("\n").filter((name) => name.endsWith("/passwd"))) {
      expect(readFileSync(path, "utf8")).toStartWith("root:x:0:0:root:/root:/bin/sh\nuser:");
    }
  });

  test("a device in the way is not opened, and none is made for us", async () => {
    const to = join(engine.dir, "devices");
    mkdirSync(to);
    const script = "mkdir /d && mknod /d/mem c 1 1 && mkfifo /d/fifo && echo x >/d/f && sleep 1000";
    await engine.ok("run", "-d", "--name", "nodes", "busybox", "sh", "-c", script);
    while ((await engine.inro(["exec", "nodes", "test", "-e", "/d/f"])).code !== 0);
    const { code, stderr } = await engine.inro(["cp", "nodes:/d", to]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: 'inro: "d/mem" is a device, and left out\n' });
    expect(readdirSync(join(to, "d")).sort()).toEqual(["f", "fifo"]);
    const over = rawTar([
      { name: "d/mem", body: "no device any more" },
      { name: "d/fifo", body: "nor that" },
    ]);
    expect((await engine.api("PUT", "/containers/nodes/archive?path=/", over)).status).toBe(200);
    expect(await engine.ok("exec", "nodes", "cat", "/d/mem", "/d/fifo")).toBe("no device any morenor that");
  });
});
