import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as k from "../linux/constants.ts";
import { mknodat } from "../linux/file.ts";
import { MergedTree } from "./merged.ts";

const asRoot = process.getuid?.() === 0;
let dir: string;
let tree: MergedTree;
const at = (name: string) => join(dir, name);

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "inro-merged-"));
  for (const name of ["top/d", "base/d/sub", "base/gone"]) mkdirSync(at(name), { recursive: true });
  for (const name of ["top/d/f", "base/d/f", "base/d/g", "outside"]) writeFileSync(at(name), name);
  symlinkSync("d", at("top/link"));
  tree = new MergedTree([at("top"), at("base")]);
});
afterEach(() => {
  tree.close();
  rmSync(dir, { recursive: true });
});

describe.skipIf(!asRoot)("MergedTree (needs root: mknod)", () => {
  test("lists and looks up what an overlay shows", () => {
    mknodat(k.AT_FDCWD, at("top/gone"), k.S_IFCHR, 0);
    expect(tree.list(tree.root).map(({ name, layer }) => [name, layer])).toEqual([
      ["d", 0],
      ["link", 0],
    ]);
    const d = tree.lookup(tree.root, "d")!.directory!;
    expect(d.layers).toEqual([0, 1]);
    expect(tree.list(d).map(({ name, layer }) => [name, layer])).toEqual([
      ["f", 0],
      ["g", 1],
      ["sub", 1],
    ]);
    expect(tree.lookup(d, "f")!.layer).toBe(0);
    expect(tree.lookup(tree.root, "gone")).toBeUndefined();
    expect(tree.lookup(tree.root, "none")).toBeUndefined();
  });

  test("follows no symlink, and goes nowhere outside", () => {
    symlinkSync(dir, at("top/out"));
    for (const path of [
      ["link", "f"],
      ["out", "outside"],
      ["..", "outside"],
    ]) {
      expect(() => tree.open(0, path, k.O_PATH)).toThrow();
    }
    expect(tree.tryOpen(0, ["link", "f"], k.O_RDONLY)).toBeUndefined();
    expect(tree.tryOpen(0, ["out", "outside"], k.O_RDONLY)).toBeUndefined();
    expect(tree.listRaw(0, ["link"])).toEqual([]);
  });
});
