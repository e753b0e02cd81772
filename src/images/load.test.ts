import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { sha256 } from "../base/digest.ts";
import { readTar } from "../layers/tar-read.ts";
import { MEDIA } from "../spec/oci-image.ts";
import { compressWith } from "./testing/compress.ts";
import {
  Bench,
  configOf,
  isRoot,
  layerOf,
  NOTHING,
  pieces,
  recorder,
  type SampleLayer,
  tarOf,
} from "./testing/samples.ts";

type Files = Parameters<typeof tarOf>[0];

describe.skipIf(!isRoot)("load and save (layers are unpacked as root)", () => {
  let bench: Bench;
  let base: SampleLayer;
  let top: SampleLayer;
  beforeEach(async () => {
    bench = new Bench();
    base = await layerOf({ name: "base" }, "plain");
    top = await layerOf({ name: "top" }, "gzip");
  });
  afterEach(() => bench.close());

  const load = async (archive: Uint8Array, size?: number) => {
    const said = recorder();
    await bench.images.load({ source: pieces(archive, size), onMessage: said.onMessage });
    return said.lines().filter((line) => line.startsWith("Loaded"));
  };

  /** docker save before version 25. */
  const oldForm = (change: Files = {}): Files => {
    const config = JSON.stringify(configOf([base, top]));
    const name = `${sha256(config).slice(7)}.json`;
    return {
      [name]: config,
      "aaa/": "",
      "aaa/VERSION": "1.0",
      "aaa/layer.tar": base.tar,
      "bbb/layer.tar": top.tar,
      "manifest.json": JSON.stringify([
        { Config: name, RepoTags: ["thing:1", "r.example/x:2"], Layers: ["aaa/layer.tar", "bbb/layer.tar"] },
      ]),
      ...change,
    };
  };

  test("the old docker-archive", async () => {
    expect(await load(await tarOf(oldForm()))).toEqual(["Loaded image: thing:1", "Loaded image: r.example/x:2"]);
    const image = bench.images.find("thing:1");
    expect(image.id).toBe(sha256(JSON.stringify(configOf([base, top]))));
    expect(readFileSync(join(image.layers[0]!, "name"), "utf8")).toBe("top");
    expect(bench.leftovers()).toEqual({ blobs: 4, layers: 2, temporary: [] });
  });

  test("in pieces of one byte, with layers that are symlinks inside the archive", async () => {
    const files = oldForm({ "aaa/layer.tar": { to: "../real/x.tar" }, "real/": "", "real/x.tar": base.tar });
    await load(await tarOf(files), 1);
    expect(bench.images.layerSizes("thing:1").size).toBe(2);
  });

  const archives: [string, () => Files, string][] = [
    [
      "a symlink out of the archive",
      () => oldForm({ "aaa/layer.tar": { to: "../../../../etc/hostname" } }),
      'no "aaa/layer.tar" in it',
    ],
    [
      "symlinks in a circle",
      () => oldForm({ "aaa/layer.tar": { to: "c" }, "aaa/c": { to: "layer.tar" } }),
      "too many symlinks",
    ],
    [
      "a path out of the archive",
      () => oldForm({ "manifest.json": JSON.stringify([{ Config: "/etc/hostname", Layers: [] }]) }),
      'no "/etc/hostname" in it',
    ],
    ["a wrong layer", () => oldForm({ "bbb/layer.tar": base.tar }), "the image says"],
    [
      "a layer too few",
      () => oldForm({ "manifest.json": JSON.stringify([{ ...manifestOf(oldForm()), Layers: ["aaa/layer.tar"] }]) }),
      "layers length mismatch: expected 2, got 1",
    ],
    [
      "a hostile name",
      () => oldForm({ "manifest.json": JSON.stringify([{ ...manifestOf(oldForm()), RepoTags: ["../x:1"] }]) }),
      "invalid reference format",
    ],
    ["null", () => oldForm({ "manifest.json": "null" }), "manifest.json is not a list of images"],
    ["no JSON", () => oldForm({ "manifest.json": "{" }), "manifest.json is not JSON"],
    ["nothing known in it", () => ({ x: "y" }), "it holds neither manifest.json nor index.json"],
    ["a blob that is not its name", () => ({ [`blobs/sha256/${"0".repeat(64)}`]: "x" }), "write blob"],
    ["a config for windows", () => windows(), 'image operating system "windows" cannot be used'],
  ];
  const manifestOf = (files: Files) => JSON.parse(files["manifest.json"] as string)[0];
  const windows = (): Files => ({
    c: JSON.stringify({ ...configOf([]), os: "windows" }),
    "manifest.json": JSON.stringify([{ Config: "c", RepoTags: null, Layers: [] }]),
  });
  for (const [name, files, message] of archives) {
    test(`refuses ${name}, leaving nothing`, async () => {
      await expect(load(await tarOf(files()))).rejects.toThrow(message);
      expect(bench.leftovers()).toEqual(NOTHING);
      expect(bench.images.list()).toEqual([]);
    });
  }

  test("two images, of which the second is wrong: none is loaded", async () => {
    const good = manifestOf(oldForm());
    const broken = oldForm({ "manifest.json": JSON.stringify([good, { ...good, Config: "nope" }]) });
    await expect(load(await tarOf(broken))).rejects.toThrow('no "nope" in it');
    expect(bench.leftovers()).toEqual(NOTHING);
  });

  test("refuses a blob that is not its layer, though the layer itself is there", async () => {
    await load(await tarOf(oldForm()));
    const before = bench.leftovers();
    const swapped = { ...manifestOf(oldForm()), Layers: ["bbb/layer.tar", "aaa/layer.tar"] };
    await expect(load(await tarOf(oldForm({ "manifest.json": JSON.stringify([swapped]) })))).rejects.toThrow(
      "the image says",
    );
    const gzipped = { "aaa/layer.tar": gzipSync(top.tar) };
    await expect(load(await tarOf(oldForm(gzipped)))).rejects.toThrow("the image says");
    expect(bench.leftovers()).toEqual(before);
  });

  test("a truncated archive", async () => {
    const archive = await tarOf(oldForm());
    await expect(load(archive.subarray(0, archive.length - 2500))).rejects.toMatchObject({ kind: "invalid" });
    expect(bench.leftovers()).toEqual(NOTHING);
  });

  const compressions: [string, (data: Buffer) => Buffer][] = [
    ["gzip", (data) => gzipSync(data)],
    ["zstd", (data) => zstdCompressSync(data)],
  ];
  for (const program of ["bzip2", "xz"]) {
    if (Bun.which(program)) compressions.push([program, (data) => compressWith(program, data)]);
    else test.skip(`compressed with ${program}: ${program} is not installed`, () => {});
  }
  for (const [name, compress] of compressions) {
    test(`compressed with ${name}`, async () => {
      expect(await load(compress(await tarOf(oldForm())))).toEqual([
        "Loaded image: thing:1",
        "Loaded image: r.example/x:2",
      ]);
    });
    test(`cut off in ${name}`, async () => {
      const archive = compress(await tarOf(oldForm()));
      await expect(load(archive.subarray(0, archive.length - 20))).rejects.toMatchObject({ kind: "invalid" });
      expect(bench.leftovers()).toEqual(NOTHING);
    });
  }

  describe("OCI layout", () => {
    const layout = (annotations: Record<string, string> | undefined, change: Files = {}): Files => {
      const config = Buffer.from(JSON.stringify(configOf([base, top])));
      const blob = (data: Buffer, mediaType: string) => ({ mediaType, digest: sha256(data), size: data.length });
      const manifest = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: MEDIA.ociManifest,
          config: blob(config, MEDIA.ociConfig),
          layers: [base, top].map((layer) => blob(layer.data, layer.mediaType)),
          annotations: { note: "kept" },
        }),
      );
      const file = (data: Buffer) => [`blobs/sha256/${sha256(data).slice(7)}`, data] as const;
      const entry = { ...blob(manifest, MEDIA.ociManifest), ...(annotations ? { annotations } : {}) };
      return {
        "oci-layout": '{"imageLayoutVersion":"1.0.0"}',
        "index.json": JSON.stringify({ schemaVersion: 2, manifests: [entry] }),
        ...Object.fromEntries([config, manifest, base.data, top.data].map(file)),
        ...change,
      };
    };

    const names: [string, Record<string, string> | undefined, (id: string) => string][] = [
      ["containerd's name", { "io.containerd.image.name": "docker.io/library/thing:1" }, () => "Loaded image: thing:1"],
      [
        "a whole ref.name",
        { "org.opencontainers.image.ref.name": "r.example/x:2" },
        () => "Loaded image: r.example/x:2",
      ],
      ["a tag as ref.name", { "org.opencontainers.image.ref.name": "latest" }, (id) => `Loaded image ID: ${id}`],
      ["no name", undefined, (id) => `Loaded image ID: ${id}`],
    ];
    for (const [name, annotations, expected] of names) {
      test(name, async () => {
        const id = sha256(JSON.stringify(configOf([base, top])));
        expect(await load(await tarOf(layout(annotations)))).toEqual([expected(id)]);
        expect(bench.images.layerSizes(id).size).toBe(2);
        expect(bench.leftovers()).toEqual({ blobs: 4, layers: 2, temporary: [] });
      });
    }

    test("a missing layer", async () => {
      const files = layout(undefined);
      delete files[`blobs/sha256/${sha256(top.data).slice(7)}`];
      await expect(load(await tarOf(files))).rejects.toThrow(`no "blobs/sha256/${sha256(top.data).slice(7)}" in it`);
      expect(bench.leftovers()).toEqual(NOTHING);
    });

    test("its manifest stays byte for byte in what is saved", async () => {
      const files = layout({ "io.containerd.image.name": "docker.io/library/thing:1" });
      await load(await tarOf(files));
      const saved = await unpacked(bench.images.save(["thing:1"]));
      const [entry] = JSON.parse(files["index.json"] as string).manifests;
      const path = `blobs/sha256/${entry.digest.slice(7)}`;
      expect(saved.get(path)!.equals(files[path] as Buffer)).toBe(true);
    });
  });

  async function unpacked(source: AsyncIterable<Uint8Array>): Promise<Map<string, Buffer>> {
    const files = new Map<string, Buffer>();
    for await (const { name, body } of readTar(source)) files.set(name, Buffer.concat(await Array.fromAsync(body)));
    return files;
  }

  describe("save", () => {
    test("is docker-archive and OCI layout in one, and loads again to the same image", async () => {
      await load(await tarOf(oldForm()));
      const { id } = bench.images.find("thing:1");
      const archive = Buffer.concat(await Array.fromAsync(bench.images.save(["thing:1", "r.example/x:2"])));
      const files = await unpacked(pieces(archive));
      const config = `blobs/sha256/${id.slice(7)}`;
      const layers = [base, top].map((layer) => `blobs/sha256/${sha256(layer.tar).slice(7)}`);
      expect(JSON.parse(files.get("manifest.json")!.toString())).toEqual([
        { Config: config, RepoTags: ["thing:1", "r.example/x:2"], Layers: layers },
      ]);
      expect(JSON.parse(files.get("oci-layout")!.toString())).toEqual({ imageLayoutVersion: "1.0.0" });
      const index = JSON.parse(files.get("index.json")!.toString());
      expect(index.manifests.map((entry: { annotations: object }) => entry.annotations)).toEqual([
        { "io.containerd.image.name": "docker.io/library/thing:1", "org.opencontainers.image.ref.name": "1" },
        { "io.containerd.image.name": "r.example/x:2", "org.opencontainers.image.ref.name": "2" },
      ]);
      const again = Buffer.concat(await Array.fromAsync(bench.images.save(["thing:1", "r.example/x:2"])));
      expect(again.equals(archive)).toBe(true);

      for (const withoutManifestJson of [false, true]) {
        bench.close();
        bench = new Bench();
        if (withoutManifestJson) files.delete("manifest.json");
        await load(withoutManifestJson ? await tarOf(Object.fromEntries(files)) : archive);
        expect(bench.images.find("thing:1").id).toBe(id);
        expect(bench.images.find("r.example/x:2").id).toBe(id);
      }
    });

    test("a repository without tag: all its tags; an id: no tag", async () => {
      await load(await tarOf(oldForm()));
      bench.images.tag("thing:1", "thing", "2");
      const tags = async (name: string) =>
        JSON.parse((await unpacked(bench.images.save([name]))).get("manifest.json")!.toString())[0].RepoTags;
      expect(await tags("thing")).toEqual(["thing:1", "thing:2"]);
      expect(await tags(bench.images.find("thing:1").id)).toBeNull();
    });

    test("a missing image is an error before the first byte", () => {
      expect(() => bench.images.save(["nope"])).toThrow("No such image: nope:latest");
    });

    test("an image removed while it is saved is saved whole", async () => {
      await load(
        await tarOf(oldForm({ "manifest.json": JSON.stringify([{ ...manifestOf(oldForm()), RepoTags: ["x:1"] }]) })),
      );
      const stream = bench.images.save(["x:1"])[Symbol.asyncIterator]();
      const chunks = [(await stream.next()).value as Uint8Array];
      bench.images.remove("x:1", { users: () => [] });
      for (let next = await stream.next(); !next.done; next = await stream.next()) chunks.push(next.value);
      const files = await unpacked(pieces(Buffer.concat(chunks)));
      expect(files.has("manifest.json")).toBe(true);
      expect(bench.leftovers()).toEqual(NOTHING);
    });
  });

  describe("import", () => {
    const importTar = (
      data: Uint8Array,
      more: { repo?: string; tag?: string; config?: { Cmd: string[] }; platform?: string } = {},
    ) => bench.images.importTar({ source: pieces(data), ...more });

    test("one layer, a name, a config", async () => {
      const config = { Cmd: ["/bin/date"] };
      const id = await importTar(base.tar, { repo: "thing", tag: "1", config });
      const image = bench.images.find("thing:1");
      expect(image.id).toBe(id);
      expect(image.config.rootfs.diff_ids).toEqual([base.diffId]);
      expect(image.config.config).toEqual(config);
      expect(readFileSync(join(image.layers[0]!, "name"), "utf8")).toBe("base");
      expect(bench.images.inspect(id).Comment).toBe("Imported from -");
      expect(bench.leftovers()).toEqual({ blobs: 3, layers: 1, temporary: [] });
    });

    for (const [name, compress] of compressions) {
      test(`compressed with ${name}`, async () => {
        const id = await importTar(compress(base.tar));
        expect(bench.images.find(id).config.rootfs.diff_ids).toEqual([base.diffId]);
      });
    }

    const refused: [string, () => Uint8Array, Parameters<typeof importTar>[1], string][] = [
      ["what is no tar", () => Buffer.alloc(2000, 65), {}, "tar"],
      ["a bad name", () => base.tar, { repo: "X" }, "must be lowercase"],
      ["another operating system", () => base.tar, { platform: "windows/amd64" }, "cannot be used on this platform"],
    ];
    for (const [name, data, more, message] of refused) {
      test(`refuses ${name}, leaving nothing`, async () => {
        await expect(importTar(data(), more)).rejects.toThrow(message);
        expect(bench.leftovers()).toEqual(NOTHING);
      });
    }

    test("an abort", async () => {
      const controller = new AbortController();
      async function* source() {
        yield base.tar.subarray(0, 512);
        controller.abort(new Error("stop"));
        yield base.tar.subarray(512);
      }
      await expect(bench.images.importTar({ source: source(), signal: controller.signal })).rejects.toThrow("stop");
      expect(bench.leftovers()).toEqual(NOTHING);
    });
  });
});
