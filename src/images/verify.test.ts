import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sha256 } from "../base/digest.ts";
import { INDEX, TAR, TREE } from "../layers/erofs/index-layer.ts";
import { Bench, configOf, layerOf, type SampleLayer } from "./testing/samples.ts";

let bench: Bench;
let base: SampleLayer;
let top: SampleLayer;
let chains: string[];

const able =
  process.getuid?.() === 0 &&
  (() => {
    const probe = new Bench();
    try {
      return probe.layers.form === "erofs";
    } finally {
      probe.close();
    }
  })();

const verify = (repair: boolean, isUsed = () => false) => bench.images.verify({ repair, isUsed });

/** As a disk does it: the file stays, a byte is another. */
function damage(path: string, at: number): void {
  const data = readFileSync(path);
  data[at]! ^= 1;
  writeFileSync(path, data);
}

async function make(): Promise<string> {
  const config = JSON.stringify(configOf([base, top]));
  const layers = [];
  for (const { data, diffId, mediaType } of [base, top]) {
    await bench.content.put(data);
    layers.push({ diffId, blob: { mediaType, digest: sha256(data), size: data.length } });
  }
  return await bench.images.create({ config, layers, tags: ["x"] });
}

beforeEach(async () => {
  bench = new Bench();
  [base, top] = [await layerOf({ "etc/a": "base" }), await layerOf({ "etc/b": "top" })];
  await make();
  const sizes = bench.images.layerSizes("x");
  chains = [...sizes.keys()];
});
afterEach(() => bench.close());

describe.skipIf(!able)("what a check of the store finds (needs root and EROFS)", () => {
  const file = (chain: number, name: string) => join(bench.layers.directory(chains[chain]!), name);

  test("nothing, where nothing is wrong", async () => {
    expect(await verify(false)).toEqual([]);
  });

  test.each([
    ["a tree", 0, TREE, 5, "its tree is not that of its tar"],
    ["an index", 1, INDEX, 1500, "its index is not that of its layers"],
  ] as const)("%s is made anew", async (_, layer, name, at, problem) => {
    const before = readFileSync(file(layer, name), "latin1");
    damage(file(layer, name), at);
    const found = { kind: "layer", object: chains[layer]!, problem } as const;
    expect(await verify(false)).toEqual([{ ...found, repaired: false }]);
    expect(await verify(true)).toEqual([{ ...found, repaired: true }]);
    expect(await verify(false)).toEqual([]);
    expect(readFileSync(file(layer, name), "latin1")).toBe(before);
    expect(readFileSync(join(bench.images.find("x").layers[0]!, "etc/b"), "utf8")).toBe("top");
  });

  test("a corrupt tar goes, unless a container needs it", async () => {
    damage(file(1, TAR), 520);
    const problem = expect.stringMatching(/^its tar is corrupt: the digest is sha256:[0-9a-f]{64}/);
    expect(await verify(true, () => true)).toMatchObject([
      { kind: "layer", object: chains[1]!, problem, repaired: false },
    ]);
    expect(await verify(true)).toMatchObject([{ problem, repaired: true }]);
    expect(bench.layers.has(chains[1]!)).toBe(false);
    expect(() => bench.images.find("x").layers).toThrow("no such layer");
    await make();
    expect(await verify(false)).toEqual([]);
    expect(readFileSync(join(bench.images.find("x").layers[0]!, "etc/a"), "utf8")).toBe("base");
  });

  test("a corrupt blob goes", async () => {
    const digest = sha256(base.data);
    damage(bench.content.path(digest), 20);
    expect(await verify(false)).toMatchObject([{ kind: "blob", object: digest, repaired: false }]);
    expect(await verify(true)).toMatchObject([{ kind: "blob", object: digest, repaired: true }]);
    expect(bench.content.has(digest)).toBe(false);
  });
});
