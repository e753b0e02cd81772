import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { sha256 } from "../base/digest.ts";
import type { ImageUser } from "./images.ts";
import { Bench, configOf, isRoot, layerOf, NOTHING, type SampleLayer } from "./testing/samples.ts";

describe.skipIf(!isRoot)("images (layers are unpacked as root)", () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.close());

  /** Makes an image with a layer of its own on top of `below`. */
  async function make(author: string, tags: string[] = [], below: SampleLayer[] = []): Promise<string> {
    const layers = [...below, await layerOf({ file: author })];
    const hold = bench.images.hold();
    for (const { data } of layers) {
      hold.blob(sha256(data));
      await bench.content.put(data);
    }
    const stored = layers.map(({ data, diffId, mediaType }) => ({
      diffId,
      blob: { mediaType, digest: sha256(data), size: data.length },
    }));
    const history = layers.map((_, i) => ({ created: "2024-01-02T03:04:05Z", created_by: `step ${i}` }));
    history.push({ created: "2024-01-02T03:04:05Z", created_by: "CMD", empty_layer: true } as (typeof history)[number]);
    const id = await bench.images.create({
      config: JSON.stringify(configOf(layers, { author, history })),
      layers: stored,
      tags,
    });
    hold.release();
    return id;
  }

  const remove = (name: string, options: { force?: boolean; users?: ImageUser[] } = {}) =>
    bench.images.remove(name, { force: options.force ?? false, users: () => options.users ?? [] });

  describe("find", () => {
    test("by name, digest, id and prefix", async () => {
      const id = await make("a", ["thing", "r.example/x:1"]);
      const hex = id.slice(7);
      for (const name of [
        "thing",
        "thing:latest",
        "docker.io/library/thing",
        "r.example/x:1",
        id,
        hex,
        hex.slice(0, 12),
        `sha256:${hex.slice(0, 5)}`,
        `thing@${id}`,
      ]) {
        expect(bench.images.find(name).id).toBe(id);
      }
      expect(bench.images.find("thing").tags).toEqual(["thing:latest", "r.example/x:1"]);
    });

    const missing: [string, string][] = [
      ["nope", "No such image: nope:latest"],
      ["docker.io/library/nope:1", "No such image: nope:1"],
      ["sha256:1234", "No such image: sha256:1234"],
      ["f".repeat(64), `No such image: ${"f".repeat(64)}`],
    ];
    for (const [name, message] of missing) {
      test(`${name.slice(0, 30)} is missing`, () => {
        expect(() => bench.images.find(name)).toThrow(message);
      });
    }
    test("what cannot be a name is invalid", () => {
      for (const name of ["", "A b", "../x", "a\0"])
        expect(() => bench.images.find(name)).toThrow("invalid reference format");
    });

    test("a prefix of several ids", async () => {
      const ids: string[] = [];
      const first = new Map<string, string>();
      let twice: string | undefined;
      while (twice === undefined) {
        const id = await make(`n${ids.length}`);
        ids.push(id);
        if (first.has(id[7]!)) twice = id[7]!;
        first.set(id[7]!, id);
      }
      expect(() => bench.images.find(twice)).toThrow(`multiple IDs found with provided prefix: ${twice}`);
    });

    test("a name wins over a prefix of an id", async () => {
      const other = await make("other");
      const id = await make("a", [other.slice(7, 13)]);
      expect(bench.images.find(other.slice(7, 13)).id).toBe(id);
    });
  });

  describe("tag", () => {
    test("moves; the old image stays, untagged", async () => {
      const [a, b] = [await make("a", ["x"]), await make("b", ["y"])];
      bench.images.tag("y", "x", "latest");
      expect(bench.images.find("x").id).toBe(b);
      expect(bench.images.find(a).tags).toEqual([]);
    });
    const refused: [string, string | undefined, string][] = [
      ["X", undefined, "must be lowercase"],
      ["x", "-", "invalid reference format"],
      [`x@sha256:${"0".repeat(64)}`, undefined, "refusing to create a tag with a digest reference"],
      ["sha256", "abc", "refusing to create an ambiguous tag using digest algorithm as name"],
    ];
    for (const [repository, tag, message] of refused) {
      test(`refuses ${repository.slice(0, 12)} ${tag ?? ""}`, async () => {
        await make("a", ["x"]);
        expect(() => bench.images.tag("x", repository, tag)).toThrow(message);
      });
    }
    test("no such image", () => {
      expect(() => bench.images.tag("nope", "x")).toThrow("No such image: nope:latest");
    });
  });

  describe("remove", () => {
    test("the last name takes the image, its blobs and layers", async () => {
      const id = await make("a", ["x", "y"]);
      const chain = (await layerOf({ file: "a" })).diffId;
      expect(remove("x")).toEqual([{ Untagged: "x:latest" }]);
      expect(remove("y")).toEqual([{ Untagged: "y:latest" }, { Deleted: id }, { Deleted: chain }]);
      expect(bench.leftovers()).toEqual(NOTHING);
      expect(bench.images.list()).toEqual([]);
    });

    test("what another image shares stays", async () => {
      const base = await layerOf({ base: "x" });
      const [a, b] = [await make("a", ["a"], [base]), await make("b", ["b"], [base])];
      expect(remove("a").filter((line) => line.Deleted).length).toBe(2);
      expect(bench.images.layerSizes("b").size).toBe(2);
      expect(() => bench.images.find(a)).toThrow("No such image");
      remove(b);
      expect(bench.leftovers()).toEqual(NOTHING);
    });

    test("by id with several names needs force", async () => {
      const id = await make("a", ["x", "y"]);
      expect(() => remove(id)).toThrow(
        `conflict: unable to delete ${id.slice(7, 19)} (must be forced) - image is referenced in multiple repositories`,
      );
      expect(
        remove(id, { force: true })
          .map((line) => line.Untagged)
          .filter(Boolean),
      ).toEqual(["x:latest", "y:latest"]);
    });

    test("a running container", async () => {
      const id = await make("a", ["x", "y"]);
      const users = [{ id: "c".repeat(64), running: true }];
      const conflict = `conflict: unable to delete ${id.slice(7, 19)} (cannot be forced) - image is being used by running container cccccccccccc`;
      expect(() => remove(id, { users, force: true })).toThrow(conflict);
      expect(remove("x", { users })).toEqual([{ Untagged: "x:latest" }]);
      expect(() => remove("y", { users })).toThrow(
        `conflict: unable to remove repository reference "y" (must force) - container cccccccccccc is using its referenced image ${id.slice(7, 19)}`,
      );
      expect(remove("y", { users, force: true })).toEqual([{ Untagged: "y:latest" }]);
      expect(bench.images.find(id).tags).toEqual([]);
    });

    test("a stopped container keeps the layers of an image removed by force until it goes", async () => {
      const id = await make("a", ["x"]);
      const users = [{ id: "c".repeat(64), running: false }];
      expect(() => remove(id, { users })).toThrow(
        "(must be forced) - image is being used by stopped container cccccccccccc",
      );
      expect(remove("x", { users, force: true })).toEqual([{ Untagged: "x:latest" }, { Deleted: id }]);
      expect(bench.images.list()).toEqual([]);
      expect(() => bench.images.find("x")).toThrow("No such image");
      expect(bench.images.layerSizes(id).size).toBe(1);
      expect(() => remove(id, { users, force: true })).toThrow(`No such image: ${id}`);
      bench.images.collect(() => users);
      expect(bench.leftovers().layers).toBe(1);
      bench.images.collect(() => []);
      expect(bench.leftovers()).toEqual(NOTHING);
    });

    test("does not take what an operation in progress holds", async () => {
      const layer = await layerOf({ file: "a" });
      await make("a", ["x"]);
      const hold = bench.images.hold();
      hold.blob(sha256(layer.data));
      hold.chain(layer.diffId);
      remove("x");
      expect(bench.leftovers()).toEqual({ blobs: 1, layers: 1, temporary: [] });
      hold.release();
      expect(bench.leftovers()).toEqual(NOTHING);
    });
  });

  test("create refuses layers that are not those of the config, and leaves nothing", async () => {
    const layer = await layerOf({ file: "a" });
    await bench.content.put(layer.data);
    const blob = { mediaType: layer.mediaType, digest: sha256(layer.data), size: layer.data.length };
    const config = JSON.stringify(configOf([]));
    const failed = bench.images.create({ config, layers: [{ diffId: layer.diffId, blob }] });
    await expect(failed).rejects.toThrow("image config names 0 layers");
    expect(bench.leftovers()).toEqual(NOTHING);
  });

  test("sweep deletes what a crash left, and nothing else", async () => {
    await make("a", ["x"]);
    const before = bench.leftovers();
    const layer = await layerOf({ file: "orphan" });
    const { digest } = await bench.content.put(layer.data);
    await bench.layers.apply({ source: { path: bench.content.path(digest) }, parents: [] });
    expect(bench.images.sweep({ blob: (d) => d === digest })).toEqual({ blobs: 0, layers: 1 });
    expect(bench.images.sweep()).toEqual({ blobs: 1, layers: 0 });
    expect(bench.leftovers()).toEqual(before);
  });

  test("inspect and history", async () => {
    const base = await layerOf({ base: "12345" });
    const id = await make("author", ["x"], [base]);
    const inspect = bench.images.inspect("x");
    expect(inspect).toMatchObject({
      Id: id,
      RepoTags: ["x:latest"],
      RepoDigests: [],
      Author: "author",
      Created: "2024-01-02T03:04:05Z",
      Os: "linux",
      Size: 11,
      Config: { Cmd: ["/bin/sh"], Env: ["A=b"], Entrypoint: null },
    });
    expect(inspect.RootFS.Layers).toEqual([base.diffId, (await layerOf({ file: "author" })).diffId]);
    expect(Date.parse(inspect.Metadata.LastTagTime)).toBeGreaterThan(Date.parse("2024-01-01"));
    const history = bench.images.history("x").map(({ Id, CreatedBy, Size, Tags }) => [Id, CreatedBy, Size, Tags]);
    expect(history).toEqual([
      [id, "CMD", 0, ["x:latest"]],
      ["<missing>", "step 1", 6, null],
      ["<missing>", "step 0", 5, null],
    ]);
  });
});
