import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { configOf, layerOf } from "../../src/images/testing/samples.ts";
import { Repository } from "../../src/registry/repository.ts";
import { DOCKER_REGISTRY, type RunningRegistry, startRegistry } from "../../src/registry/testing/docker-registry.ts";
import { TestPusher } from "../../src/registry/testing/push.ts";
import { MEDIA } from "../../src/spec/oci-image.ts";
import { busyboxTar, command, hasBusybox, isRoot, TestEngine, temporary } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : !DOCKER_REGISTRY ? "no docker-registry" : "";

describe.skipIf(why !== "")(`image copy${why && ` (${why})`}`, () => {
  let one: TestEngine;
  let two: TestEngine;
  let registry: RunningRegistry;
  let dir: string;
  beforeAll(async () => {
    [one, two, registry] = await Promise.all([new TestEngine().start(), new TestEngine().start(), startRegistry()]);
    dir = temporary();
    await one.ok("import", busyboxTar(dir), "box:1");
    await one.ok("create", "--name", "made", "box:1", "true");
    writeFileSync(join(dir, "new"), "new");
    await one.ok("cp", join(dir, "new"), "made:/new");
    await one.ok("commit", "made", "box:2");
    await one.ok("rm", "made");
  });
  afterAll(async () => {
    await one?.stop();
    await two?.stop();
    await registry?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test("to another engine only what it has not: first all, then a layer, then nothing; it runs there", async () => {
    const copy = async (image: string) => {
      const { code, stderr } = await one.inro(["image", "copy", image, two.host]);
      expect(code).toBe(0);
      return /^(\d+) of (\d+) blobs/.exec(stderr)?.slice(1).map(Number);
    };
    expect(await copy("box:1")).toEqual([3, 3]);
    expect(await copy("box:2")).toEqual([3, 4]);
    expect(await copy("box:2")).toEqual([0, 4]);
    expect(await two.ok("run", "--rm", "box:2", "cat", "/new")).toBe("new");
    const id = (engine: TestEngine) => engine.ok("inspect", "-f", "{{.Id}}", "box:2");
    expect(await id(two)).toBe(await id(one));
  });

  test("over ssh, and from another engine", async () => {
    // What ssh does here: run the command.
    const program = join(dir, "ssh");
    writeFileSync(program, `#!/bin/sh\nwhile [ "$1" != "--" ]; do shift; done\nshift 2\nexec sh -c "$*"\n`);
    writeFileSync(join(dir, "inro"), `#!/bin/sh\nexec ${command.join(" ")} "$@"\n`);
    for (const name of ["ssh", "inro"]) chmodSync(join(dir, name), 0o755);
    await one.ok("tag", "box:2", "box:3");
    const env = { PATH: `${dir}:${process.env.PATH}` };
    const sent = await one.inro(["image", "copy", "box:3", `ssh://host${two.socket}`], { env });
    expect(sent).toMatchObject({ code: 0 });
    expect(sent.stderr).toContain("0 of 4 blobs to send");
    expect(await two.ok("images", "-q", "box:3")).not.toBe("");
    await two.ok("tag", "box:1", "there:1");
    expect(await one.inro(["image", "copy", "--from", two.host, "-q", "there:1"])).toMatchObject({ code: 0 });
    expect(await one.ok("images", "-q", "there:1")).not.toBe("");
  });

  test("what the target lost in between is sent after all", async () => {
    const missing = await one.inro(["image", "copy", "nothing:1", two.host]);
    expect(missing.code).toBe(1);
    expect(missing.stderr).toContain("No such image: nothing:1");
    const tar = join(dir, "part.tar");
    const response = await fetch("http://inro/inro/images/get", {
      unix: one.socket,
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ Names: ["box:2"], Without: JSON.parse(await blobs("box:2")) }),
    });
    await Bun.write(tar, response);
    await one.ok("tag", "box:2", "kept:1");
    expect((await one.inro(["load", "-i", tar])).code).toBe(0);
    await two.ok("rmi", "-f", "box:1", "box:2", "box:3", "there:1");
    const refused = await two.inro(["load", "-i", tar]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("image archive: no ");
    expect(await two.ok("images", "-aq")).toBe("");
  });
  const blobs = async (name: string) => {
    const request = { unix: one.socket, method: "POST", headers: { "Content-Type": "application/json" } };
    const answer = await fetch("http://inro/inro/images/blobs", {
      ...request,
      body: JSON.stringify({ Names: [name] }),
    });
    const { Blobs } = (await answer.json()) as { Blobs: { digest: string }[] };
    return JSON.stringify(Blobs.map(({ digest }) => digest));
  };

  test("from registry to registry: an index with all its platforms, digests as they were, nothing stored here", async () => {
    const other = await startRegistry();
    try {
      const layer = await layerOf({ a: "b" });
      const pusher = new TestPusher(registry.host, "app");
      const manifests = [];
      for (const architecture of ["amd64", "arm64"]) {
        const pushed = await pusher.image(configOf([layer], { architecture }), [layer], "");
        manifests.push({ ...pushed, platform: { os: "linux", architecture } });
      }
      const index = await pusher.manifest({ schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests }, "t");
      const before = await one.ok("images", "-aq");
      for (const target of [`${other.host}/copied:x`, `${registry.host}/beside:x`]) {
        const copied = await one.inro(["image", "copy", `docker://${registry.host}/app:t`, `docker://${target}`]);
        expect(copied).toMatchObject({ code: 0, stderr: "" });
        expect(copied.stdout).toContain(`x: digest: ${index.digest}`);
        expect(copied.stdout.includes("Mounted from app")).toBe(target.startsWith(registry.host));
        const [host, path] = target.split(/[/]/) as [string, string];
        const repository = new Repository({ base: `http://${host}`, mirror: false }, path.split(":")[0]!);
        expect((await repository.manifest("x")).digest).toBe(index.digest);
        for (const { digest } of manifests) expect((await repository.manifest(digest)).digest).toBe(digest);
      }
      expect(await one.ok("images", "-aq")).toBe(before);
    } finally {
      await other.stop();
    }
  });

  test("to and from files; what is no place is said", async () => {
    const file = join(dir, "box.tar");
    expect(await one.inro(["image", "copy", "box:1", `docker-archive:${file}`])).toMatchObject({ code: 0, stderr: "" });
    expect((await one.inro(["image", "copy", `docker-archive:${file}`, two.host])).stdout).toContain(
      "Loaded image: box:1",
    );
    for (const args of [["box:1"], ["box:1", "somewhere"], ["box:1", "docker://x/y:1"]]) {
      expect((await one.inro(["image", "copy", ...args])).code).toBe(1);
    }
  });
});
