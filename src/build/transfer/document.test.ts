import { describe, expect, test } from "bun:test";
import { sha256 } from "../../base/digest.ts";
import { parseCacheDocument } from "./document.ts";
import { ImportedCaches } from "./imported.ts";

const [a, b, c] = ["a", "b", "c"].map((text) => sha256(text)) as [string, string, string];
const good = {
  version: 1,
  diffIds: [a, null],
  records: [
    { key: b, chain: c, parent: "", description: "RUN x", layer: 0 },
    { key: c, chain: c, parent: c, description: "RUN nothing" },
  ],
  selections: [[a, b, c]],
  mounts: [{ id: "/cache", layer: 1 }],
};

describe("a cache's document", () => {
  test("as it was written", () => {
    expect(parseCacheDocument(JSON.stringify(good), 2)).toEqual(good as never);
  });

  for (const [name, wrong] of Object.entries<object | string>({
    "not JSON": "{",
    "a list": [],
    "another version": { ...good, version: 2 },
    "a key that is a path": { ...good, records: [{ ...good.records[0], key: "sha256:../../x" }] },
    "a layer that the manifest has not": { ...good, records: [{ ...good.records[0], layer: 2 }] },
    "a layer before the first": { ...good, records: [{ ...good.records[0], layer: -1 }] },
    "a step whose layer is a mount's": { ...good, records: [{ ...good.records[0], layer: 1 }] },
    "other layers than the manifest's": { ...good, diffIds: [a] },
    "a million records": { ...good, records: Array(1_000_000).fill(good.records[1]) },
    "a long description": { ...good, records: [{ ...good.records[1], description: "x".repeat(5000) }] },
    "a selection of more than three": { ...good, selections: [[a, b, c, a]] },
    "a mount without a name": { ...good, mounts: [{ id: "", layer: 1 }] },
    "no records": { version: 1, diffIds: [null, null] },
  })) {
    test(`${name} is refused`, () => {
      const text = typeof wrong === "string" ? wrong : JSON.stringify(wrong);
      expect(() => parseCacheDocument(text, 2)).toThrow("invalid build cache");
    });
  }

  test("a layer that cannot be had is no hit, and no error", async () => {
    const layer = { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: a, size: 1 };
    const fetch = async () => {
      throw new Error("gone");
    };
    const caches = new ImportedCaches([
      { document: parseCacheDocument(JSON.stringify(good), 2), layers: [layer, layer], fetch },
    ]);
    expect(caches.record(b)?.layer).toEqual({ diffId: a, blob: layer });
    expect(caches.record(a)).toBeUndefined();
    expect(caches.selection(a, b)).toBe(c);
    expect(await caches.fetch(b, new AbortController().signal)).toBeFalse();
    expect(await caches.fetch(c, new AbortController().signal)).toBeFalse();
  });
});
