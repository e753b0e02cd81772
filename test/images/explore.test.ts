import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { sha256 } from "../../src/base/digest.ts";
import type { TarHeader } from "../../src/layers/tar-header.ts";
import { writeTar } from "../../src/layers/tar-write.ts";
import { startInroRegistry } from "../../src/registry/testing/inro-registry.ts";
import { TestPusher } from "../../src/registry/testing/push.ts";
import { MEDIA } from "../../src/spec/oci-image.ts";
import { isRoot, TestEngine } from "../harness.ts";

const arch = process.arch === "x64" ? "amd64" : "arm64";
// Each step starts the program anew.
setDefaultTimeout(20_000);
const COMMON = { mode: 0o644, uid: 0, gid: 0, mtime: 0n };

/** A tar of these members: a text is a file's content. */
async function layer(members: Record<string, string | (Partial<TarHeader> & { content?: string })>): Promise<Buffer> {
  const list = Object.entries(members).map(([name, value]) => {
    const { content = "", ...header } = typeof value === "string" ? { content: value } : value;
    const type = header.type ?? (name.endsWith("/") ? "directory" : "file");
    return {
      header: { ...COMMON, mode: type === "directory" ? 0o755 : 0o644, name, type, ...header, size: content.length },
      body: [Buffer.from(content)],
    };
  });
  const chunks: Uint8Array[] = [];
  for await (const chunk of writeTar(list)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

describe.skipIf(!isRoot)(`what is in an image${isRoot ? "" : " (needs root)"}`, () => {
  let engine: TestEngine;
  let registry: Awaited<ReturnType<typeof startInroRegistry>>;

  async function image(tag: string, layers: Buffer[], config: object = {}) {
    const value = {
      architecture: arch,
      os: "linux",
      created: "2020-01-01T00:00:00Z",
      config,
      rootfs: { type: "layers", diff_ids: layers.map((one) => sha256(one)) },
      history: layers.map((_, i) => ({ created: "2020-01-01T00:00:00Z", created_by: `RUN step ${i + 1}` })),
    };
    const packed = layers.map((one) => ({ data: gzipSync(one), mediaType: MEDIA.ociLayerGzip }));
    await new TestPusher(registry.host, "explored").image(value, packed, tag);
    const name = `${registry.host}/explored:${tag}`;
    expect(await engine.inro(["pull", "-q", name])).toMatchObject({ code: 0 });
    return name;
  }

  beforeAll(async () => {
    [engine, registry] = await Promise.all([new TestEngine().start(), startInroRegistry()]);
  });
  afterAll(async () => {
    await registry?.stop();
    await engine?.stop();
  });

  let wasteful: string;
  beforeAll(async () => {
    wasteful = await image("wasteful", [
      await layer({
        big: "b".repeat(60_000),
        "etc/": "",
        "etc/a": "1234",
        "dir/": "",
        "dir/x": "x".repeat(10_000),
        "k\x1b[31m": "",
      }),
      await layer({
        "etc/a": "12345678",
        ".wh.big": "",
        "dir/.wh..wh..opq": "",
        "dir/y": "y",
        hard: { type: "hardlink", linkname: "etc/a" },
      }),
    ]);
  });

  test("explore counts what later layers hide", async () => {
    const { stdout, code } = await engine.inro(["image", "explore", "--json", wasteful]);
    const found = JSON.parse(stdout);
    expect(code).toBe(0);
    expect(found).toMatchObject({ size: 70_013, wasted: 70_004 });
    expect(found.layers).toMatchObject([
      { size: 70_004, added: 6, changed: 0, removed: 0, command: "RUN step 1" },
      { size: 9, added: 2, changed: 1, removed: 2 },
    ]);
    expect(found.wastedPaths).toEqual([
      { path: "/big", bytes: 60_000, times: 1 },
      { path: "/dir/x", bytes: 10_000, times: 1 },
      { path: "/etc/a", bytes: 4, times: 2 },
    ]);
  });

  test("explore --ci", async () => {
    const bad = await engine.inro(["image", "explore", "--ci", "--max-wasted", "50kB", wasteful]);
    expect(bad.code).toBe(1);
    expect(bad.stderr).toContain("efficiency 0.0001 is below 0.9; 70kB wasted, more than 50kB");
    expect(bad.stdout).toContain("LAYER     SIZE      ADDED     CHANGED   REMOVED   CREATED BY");
    const good = await engine.inro([
      "image",
      "explore",
      "--ci",
      "--min-efficiency",
      "0",
      "--max-wasted",
      "1MB",
      wasteful,
    ]);
    expect(good).toMatchObject({ code: 0, stderr: "" });
    expect((await engine.inro(["image", "explore", "--min-efficiency", "2", wasteful])).code).toBe(125);
    expect((await engine.inro(["image", "explore", "missing"])).stderr).toContain("No such image: missing:latest");
  });

  test("explore on a terminal", async () => {
    let output = "";
    let check = () => {};
    const child = engine.spawn(["image", "explore", wasteful], {
      terminal: {
        cols: 100,
        rows: 20,
        data(_, chunk) {
          output += Buffer.from(chunk);
          check();
        },
      },
    });
    const until = (text: string) =>
      new Promise<void>((resolve) => {
        check = () => {
          if (!output.includes(text)) return;
          output = "";
          resolve();
        };
        check();
      });
    await until("RUN step 1");
    child.terminal!.write("\x1b[B");
    await until("RUN step 2");
    child.terminal!.write("\t \x1b[B");
    await until("etc");
    child.terminal!.write("q");
    expect(await child.exited).toBe(0);
    expect(output).toContain("\x1b[?1049l");
    expect(output).not.toContain("k\x1b[31m");
    child.terminal!.close();
  });

  test("sbom lists packages, in all its forms, the same each time", async () => {
    const status = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\n";
    const name = await image("packages", [await layer({ "var/lib/dpkg/status": status })]);
    const plain = await engine.inro(["sbom", name]);
    expect(plain).toEqual({
      code: 0,
      stderr: "",
      stdout: "NAME      VERSION   TYPE      FOUND IN\nlibc6     2.36-9    deb       /var/lib/dpkg/status\n",
    });
    for (const format of ["spdx", "cyclonedx"]) {
      const { stdout } = await engine.inro(["sbom", "--format", format, name]);
      expect(stdout).toContain('"pkg:deb/debian/libc6@2.36-9?arch=amd64"');
      expect((await engine.inro(["sbom", "--format", format, name])).stdout).toBe(stdout);
    }
    expect((await engine.inro(["sbom", "--format", "x", name])).code).toBe(125);
    const attached = await engine.inro(["sbom", "--format", "spdx", "--attach", name]);
    const manifest = await fetch(`http://${registry.host}/v2/explored/manifests/packages`);
    const subject = manifest.headers.get("docker-content-digest")!;
    const listed = await fetch(`http://${registry.host}/v2/explored/referrers/${subject}`);
    expect(((await listed.json()) as { manifests: object[] }).manifests).toMatchObject([
      { digest: attached.stdout.trim(), artifactType: "application/vnd.in-toto+json" },
    ]);
  });

  test("diff says nothing of equal images", async () => {
    const layers = [await layer({ a: "same" })];
    const [one, two] = [await image("same1", layers), await image("same2", layers)];
    expect(await engine.inro(["image", "diff", one, two])).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test("diff says what differs, down to the file", async () => {
    const one = await image(
      "one",
      [
        await layer({
          a: "a",
          b: "b",
          c: { content: "c", xattrs: new Map([["user.k", Buffer.from("1")]]) },
          gone: "",
          l: { type: "symlink", linkname: "a" },
          t: "",
        }),
      ],
      { Cmd: ["x"], Env: ["A=1"] },
    );
    const two = await image(
      "two",
      [
        await layer({
          a: { content: "A", mode: 0o755 },
          b: { content: "bb", uid: 5 },
          c: "c",
          l: { type: "symlink", linkname: "b" },
          fresh: "",
          t: { mtime: 1_000_000_000n },
        }),
      ],
      { Cmd: ["x"], Env: ["A=2"] },
    );
    const { code, stdout } = await engine.inro(["image", "diff", one, two]);
    const short = (text: string) => sha256(text).slice(7, 19);
    expect(code).toBe(1);
    const lines = stdout.trimEnd().split("\n");
    expect(lines[0]).toBe('config Config.Env: ["A=1"] → ["A=2"]');
    expect(lines[1]).toMatch(/^layer 1: sha256:\w{64} → sha256:\w{64}$/);
    expect(lines.slice(2)).toEqual([
      `~ /a: mode 0644 → 0755, content ${short("a")} → ${short("A")}`,
      `~ /b: owner 0:0 → 5:0, size 1 → 2, content ${short("b")} → ${short("bb")}`,
      `~ /c: xattrs user.k=MQ== → none`,
      "+ /fresh",
      "- /gone",
      "~ /l: target a → b",
      "~ /t: mtime 1970-01-01T00:00:00Z → 1970-01-01T00:00:01Z",
    ]);
    const json = await engine.inro(["image", "diff", "--json", "--ignore-times", one, two]);
    expect(JSON.parse(json.stdout).files.map(({ path }: { path: string }) => path)).toEqual([
      "/a",
      "/b",
      "/c",
      "/fresh",
      "/gone",
      "/l",
    ]);
  });
});
