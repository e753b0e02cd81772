import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { sha256 } from "../../src/base/digest.ts";
import { tarOf } from "../../src/images/testing/samples.ts";
import { busyboxTar, hasBusybox, isRoot, TestEngine } from "../harness.ts";
import { contents, NOTHING } from "./contents.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`archives${why && ` (${why})`}`, () => {
  let engine: TestEngine;
  let base: Buffer;
  const path = (name: string) => join(engine.dir, name);
  const bytes = async (...args: string[]) => {
    const child = engine.spawn(args);
    const data = Buffer.from(await new Response(child.stdout as ReadableStream).arrayBuffer());
    expect(await child.exited).toBe(0);
    return data;
  };
  const idOf = (name: string) => engine.ok("inspect", "-f", "{{.Id}}", name);
  const untar = (archive: Uint8Array, dir: string) =>
    expect(Bun.spawnSync(["tar", "-C", dir, "-xf", "-"], { stdin: Buffer.from(archive) }).exitCode).toBe(0);

  beforeAll(async () => {
    engine = await new TestEngine().start();
    base = readFileSync(busyboxTar(engine.dir));
  });
  afterAll(() => engine?.stop());

  test("import: from a file and stdin, compressed, with changes; the id is printed", async () => {
    writeFileSync(path("base.tar.gz"), gzipSync(base, { level: 1 }));
    const changes = [
      "-c",
      'CMD ["echo", "as told"]',
      "-c",
      "ENV A=1",
      "-c",
      "WORKDIR /etc",
      "-c",
      "USER user",
      "-m",
      "made by hand",
    ];
    const id = await engine.ok("import", ...changes, path("base.tar.gz"), "app:one");
    expect(id).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(await idOf("app:one")).toBe(id);
    expect(await engine.ok("run", "--rm", "app:one")).toBe("as told");
    expect(await engine.ok("run", "--rm", "app:one", "sh", "-c", "echo $A $(pwd) $(id -u)")).toBe("1 /etc 1000");
    const plain = await engine.inro(["import", "-", "app:two"], { stdin: base });
    expect(plain).toMatchObject({ code: 0, stderr: "" });
    expect(await engine.ok("images", "--format", "{{.Repository}}:{{.Tag}}", "app")).toBe("app:two\napp:one");
    expect((await engine.inro(["import", path("nothing.tar"), "x"])).code).toBe(1);
    expect((await engine.inro(["import", "-c", "FROM scratch", path("base.tar.gz"), "x"])).stderr).toMatch(/FROM/i);
  });

  test("import from a URL: by the engine, with what it is noted in the history", async () => {
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: ({ url }) =>
        url.endsWith("/base.tar.gz?secret=1")
          ? new Response(gzipSync(base, { level: 1 }))
          : new Response("", { status: 404 }),
    });
    try {
      const from = `http://127.0.0.1:${server.port}/base.tar.gz`;
      const told = (await engine.ok("import", "-c", 'CMD ["echo", "fetched"]', `${from}?secret=1`, "app:url")).split(
        "\n",
      );
      expect(told).toEqual([`Downloading from ${from}`, expect.stringMatching(/^sha256:[0-9a-f]{64}$/)]);
      expect(await engine.ok("run", "--rm", "app:url")).toBe("fetched");
      expect(await engine.ok("history", "--format", "{{.Comment}}", "app:url")).toBe(`Imported from ${from}`);
      const missing = await engine.inro(["import", from, "app:none"]);
      expect([missing.code, missing.stderr]).toEqual([1, expect.stringContaining("answered with status 404")]);
      expect(await engine.ok("images", "-q", "app:none")).toBe("");
      await engine.ok("rmi", "app:url");
    } finally {
      await server.stop(true);
    }
  });

  test("search: as docker's, by the engine, where a registry has it", async () => {
    const asked: string[] = [];
    const results = [
      { name: "team/one", description: "the first\nof all", star_count: 12, is_official: false },
      { name: "two", description: "x".repeat(60), star_count: 3, is_official: true },
    ];
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: ({ url }) => {
        asked.push(new URL(url).search);
        return Response.json({ results });
      },
    });
    try {
      const term = `127.0.0.1:${server.port}/words`;
      expect((await engine.ok("search", "--limit", "9", term)).split("\n").map((line) => line.trimEnd())).toEqual([
        "NAME       DESCRIPTION                                     STARS     OFFICIAL",
        "team/one   the first of all                                12",
        `two        ${"x".repeat(44)}…   3         [OK]`,
      ]);
      expect(asked).toEqual(["?q=words&n=9"]);
      expect(await engine.ok("search", "-f", "stars=10", "--format", "{{.Name}}", term)).toBe("team/one");
      expect(await engine.ok("search", "-f", "is-official=true", "--format", "{{.Name}}", term)).toBe("two");
      const wrong = await engine.inro(["search", "-f", "is-official=x", term]);
      expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining("invalid filter")]);
    } finally {
      await server.stop(true);
    }
  });

  test("save and load: the same ids, layers and names; all layers are shared", async () => {
    const [one, two] = [await idOf("app:one"), await idOf("app:two")];
    await engine.ok("tag", "app:one", "registry.example/other/name:v1");
    await engine.ok("save", "-o", path("saved.tar"), "app:one", "app:two", "registry.example/other/name:v1");
    const before = await contents(engine);
    await engine.ok("rmi", "app:one", "app:two", "registry.example/other/name:v1");
    expect(await contents(engine)).toEqual(NOTHING);
    const out = await engine.ok("load", "-i", path("saved.tar"));
    expect(
      out
        .split("\n")
        .filter((line) => line.startsWith("Loaded image"))
        .sort(),
    ).toEqual(["Loaded image: app:one", "Loaded image: app:two", "Loaded image: registry.example/other/name:v1"]);
    expect(out).not.toMatch(/[\x1b\r]/);
    expect([await idOf("app:one"), await idOf("app:two"), await idOf("registry.example/other/name:v1")]).toEqual([
      one,
      two,
      one,
    ]);
    expect((await contents(engine)).layers).toEqual(before.layers);
    expect(await engine.ok("run", "--rm", "app:one")).toBe("as told");
    await engine.ok("rmi", "registry.example/other/name:v1");
  });

  test("save | load through pipes, compressed on the way", async () => {
    const id = await idOf("app:one");
    const saved = await bytes("save", "app:one");
    await engine.ok("rmi", "app:one");
    expect(await engine.inro(["load", "-q"], { stdin: gzipSync(saved, { level: 1 }) })).toMatchObject({
      code: 0,
      stdout: "Loaded image: app:one\n",
    });
    expect(await idOf("app:one")).toBe(id);
  });

  test("what is saved is an OCI layout and a docker-archive: either half alone loads", async () => {
    const dir = mkdtempSync(path("layout-"));
    untar(await bytes("save", "app:one"), dir);
    const id = await idOf("app:one");
    expect(readdirSync(dir).sort()).toEqual(
      expect.arrayContaining(["blobs", "index.json", "manifest.json", "oci-layout"]),
    );
    for (const without of [
      ["manifest.json", "repositories"],
      ["index.json", "oci-layout"],
    ]) {
      await engine.ok("rmi", "app:one");
      const skip = without.map((name) => `--exclude=./${name}`);
      const tar = Bun.spawnSync(["tar", "-C", dir, ...skip, "-cf", "-", "."]).stdout;
      expect((await engine.inro(["load"], { stdin: tar })).code).toBe(0);
      expect(await idOf("app:one")).toBe(id);
    }
    rmSync(dir, { recursive: true });
  });

  test("a docker-archive of the old form: directories with VERSION, json, layer.tar, and links between them", async () => {
    const dir = mkdtempSync(path("old-"));
    const top = await tarOf({ "etc/old": "form\n" });
    const config = JSON.stringify({
      architecture: process.arch === "x64" ? "amd64" : "arm64",
      os: "linux",
      config: { Cmd: ["cat", "/etc/old"], Env: ["PATH=/bin"] },
      rootfs: { type: "layers", diff_ids: [sha256(base), sha256(top)] },
    });
    const id = sha256(Buffer.from(config));
    const [a, b] = ["a".repeat(64), "b".repeat(64)];
    for (const [name, layer] of [
      [a, base],
      [b, top],
    ] as const) {
      mkdirSync(join(dir, name));
      writeFileSync(join(dir, name, "VERSION"), "1.0");
      writeFileSync(join(dir, name, "json"), JSON.stringify({ id: name }));
      writeFileSync(join(dir, name, "layer.tar"), layer);
    }
    const file = `${id.slice(7)}.json`;
    writeFileSync(join(dir, file), config);
    const manifest = [{ Config: file, RepoTags: ["old/form:1"], Layers: [`${a}/layer.tar`, `${b}/layer.tar`] }];
    writeFileSync(join(dir, "manifest.json"), JSON.stringify(manifest));
    writeFileSync(join(dir, "repositories"), JSON.stringify({ "old/form": { "1": b } }));
    const tar = Bun.spawnSync(["tar", "-C", dir, "-cf", "-", ...readdirSync(dir)]).stdout;
    const { code, stdout } = await engine.inro(["load"], { stdin: tar });
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining("Loaded image: old/form:1\n") });
    expect(await idOf("old/form:1")).toBe(id);
    expect(await engine.ok("run", "--rm", "old/form:1")).toBe("form");
    rmSync(dir, { recursive: true });
    await engine.ok("rmi", "old/form:1");
  });

  test("tag and rmi: names come and go, the last one takes the image along", async () => {
    const before = await contents(engine);
    const id = await engine.ok("import", "-c", "LABEL only=this", path("base.tar.gz"), "tagged:1");
    await engine.ok("tag", "tagged:1", "tagged:2");
    await engine.ok("tag", id.slice(7, 19), "tagged");
    expect((await engine.inro(["tag", "tagged:nope", "x"])).stderr).toContain("No such image: tagged:nope");
    expect((await engine.inro(["tag", "tagged", "Bad Name"])).code).toBe(1);
    expect((await engine.inro(["rmi", id])).stderr).toContain("must be forced");
    expect(await engine.ok("rmi", "tagged:1")).toBe("Untagged: tagged:1");
    expect(await engine.ok("rmi", "tagged", "tagged:2")).toMatch(
      /^Untagged: tagged:latest\nUntagged: tagged:2\nDeleted: sha256:/,
    );
    expect(await engine.inro(["rmi", "tagged:2"])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("No such image: tagged:2"),
    });
    expect(await contents(engine)).toEqual(before);
  });

  test("rmi of an image in use: a running container keeps it, a stopped one until --force", async () => {
    await engine.ok("run", "-d", "--name", "user", "app:two", "sleep", "1000");
    const id = await idOf("app:two");
    for (const args of [
      ["rmi", "app:two"],
      ["rmi", "-f", id],
    ]) {
      const { code, stderr } = await engine.inro(args);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^Error response from daemon: conflict: unable to (remove repository reference|delete)/);
      expect(stderr).toMatch(/is using its referenced image|is being used by running container/);
    }
    await engine.ok("kill", "user");
    expect((await engine.inro(["rmi", "app:two"])).code).toBe(1);
    await engine.ok("rmi", "-f", "app:two");
    // Its files are still the container's.
    await engine.ok("start", "user");
    expect(await engine.ok("exec", "user", "echo", "works")).toBe("works");
    await engine.ok("rm", "-f", "user");
    expect((await engine.inro(["system", "check"])).code).toBe(0);
  });

  test("everything removed: no blob, no layer", async () => {
    const ids = (await engine.ok("images", "-aq", "--no-trunc")).split("\n").filter(Boolean);
    if (ids.length > 0) await engine.ok("rmi", "-f", ...new Set(ids));
    expect(await contents(engine)).toEqual(NOTHING);
    expect(
      existsSync(join(engine.dataRoot, "content/ingest")) &&
        readdirSync(join(engine.dataRoot, "content/ingest")).length,
    ).toBeFalsy();
  });
});
