import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { sha256 } from "../../src/base/digest.ts";
import { tarOf } from "../../src/images/testing/samples.ts";
import { DOCKER_REGISTRY, startRegistry } from "../../src/registry/testing/docker-registry.ts";
import { TestPusher } from "../../src/registry/testing/push.ts";
import { MEDIA } from "../../src/spec/oci-image.ts";
import { hasBusybox, isRoot, TestEngine } from "../harness.ts";
import { contents } from "./contents.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

/** The data root is a file system of 24 MiB. */
describe.skipIf(why !== "")(`a full disk${why && ` (${why})`}`, () => {
  const engine = new TestEngine();
  const arch = process.arch === "x64" ? "amd64" : "arm64";
  let big: Buffer;
  let before: Awaited<ReturnType<typeof contents>>;

  beforeAll(async () => {
    mkdirSync(engine.dataRoot, { recursive: true, mode: 0o700 });
    const { exitCode } = Bun.spawnSync([
      "mount",
      "-t",
      "tmpfs",
      "-o",
      "size=24m,mode=700",
      "inro-test",
      engine.dataRoot,
    ]);
    expect(exitCode).toBe(0);
    engine.afterEnd.push(() => Bun.spawnSync(["umount", engine.dataRoot]));
    await engine.start();
    await engine.busybox();
    big = await tarOf({ big: Buffer.alloc(40 << 20, "not so random, but long ") });
    before = await contents(engine);
  });
  afterAll(() => engine.stop());

  const free = () => {
    const { bfree, bsize } = statfsSync(engine.dataRoot);
    return bfree * bsize;
  };
  const nothingLeft = async (room: number) => {
    // What was removed is deleted a little later; the check waits for that.
    await engine.ok("system", "check");
    expect(await contents(engine)).toEqual(before);
    expect(free()).toBeGreaterThan(room - (1 << 20));
    expect(await engine.ok("run", "--rm", "busybox", "echo", "still works")).toBe("still works");
    expect((await engine.inro(["system", "check"])).stdout).toBe("no leaks found\n");
  };
  const full = /no space left on device|ENOSPC/i;

  test("import, load: a clear error, nothing half-made", async () => {
    const room = free();
    const imported = await engine.inro(["import", "-", "big"], { stdin: big });
    expect(imported).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(full) });
    await nothingLeft(room);
    // Small as it comes, too large unpacked.
    const packed = await engine.inro(["import", "-", "big"], { stdin: gzipSync(big, { level: 1 }) });
    expect(packed).toMatchObject({ code: 1, stderr: expect.stringMatching(full) });
    await nothingLeft(room);
    const manifest = [{ Config: "config.json", RepoTags: ["big:1"], Layers: ["layer.tar"] }];
    const config = { architecture: arch, os: "linux", config: {}, rootfs: { type: "layers", diff_ids: [sha256(big)] } };
    const archive = await tarOf({
      "layer.tar": big,
      "config.json": JSON.stringify(config),
      "manifest.json": JSON.stringify(manifest),
    });
    const loaded = await engine.inro(["load"], { stdin: archive });
    expect(loaded).toMatchObject({ code: 1, stderr: expect.stringMatching(full) });
    await nothingLeft(room);
  });

  test.skipIf(!DOCKER_REGISTRY)("pull: as well", async () => {
    const registry = await startRegistry();
    try {
      const config = {
        architecture: arch,
        os: "linux",
        config: {},
        rootfs: { type: "layers", diff_ids: [sha256(big)] },
      };
      const layer = { data: gzipSync(big, { level: 1 }), mediaType: MEDIA.ociLayerGzip };
      await new TestPusher(registry.host, "big").image(config, [layer], "latest");
      const room = free();
      const pulled = await engine.inro(["pull", `${registry.host}/big`]);
      expect(pulled).toMatchObject({ code: 1, stderr: expect.stringMatching(full) });
      await nothingLeft(room);
    } finally {
      await registry.stop();
    }
  });

  test("no byte left at all: create and run fail with the reason, and all is well once there is room", async () => {
    writeFileSync(join(engine.dataRoot, "ballast"), "");
    const fill = Bun.spawnSync(["sh", "-c", `cat /dev/zero > ${join(engine.dataRoot, "ballast")}`]);
    expect(fill.stderr.toString()).toMatch(/No space/);
    const { code, stderr } = await engine.inro(["run", "--rm", "busybox", "true"]);
    expect(code).toBe(125);
    expect(stderr).toMatch(/no space left on device|ENOSPC|disk is full/i);
    expect(stderr).not.toMatch(/\n\s+at /);
    rmSync(join(engine.dataRoot, "ballast"));
    await nothingLeft(free());
    expect(await engine.ok("ps", "-aq")).toBe("");
  });

  test("a container that fills it gets the error itself, and its output is kept as far as there is room", async () => {
    const { code, stderr } = await engine.inro(["run", "--rm", "busybox", "dd", "if=/dev/zero", "of=/fill", "bs=1M"]);
    expect(code).toBe(1);
    expect(stderr).toContain("No space left on device");
    await nothingLeft(free());
    // Its log fills the disk: the container and its client see nothing of that.
    const noisy = await engine.inro([
      "run",
      "--name",
      "noisy",
      "busybox",
      "sh",
      "-c",
      "yes 0123456789 | head -c 30000000; echo end",
    ]);
    expect(noisy.code).toBe(0);
    expect(noisy.stdout.length).toBe(30_000_004);
    expect(noisy.stdout.endsWith("end\n")).toBe(true);
    await engine.ok("rm", "noisy");
    await nothingLeft(free());
  });
});
