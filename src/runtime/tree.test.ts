import { afterAll, expect, test } from "bun:test";
import { closeSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openInTree, resolveInTree, treeOf } from "./tree.ts";

const top = mkdtempSync(join(tmpdir(), "inro-tree-"));
afterAll(() => rmSync(top, { recursive: true }));
for (const name of ["upper/new", "lower/usr/bin", "lower/etc", "volume/in"])
  mkdirSync(join(top, name), { recursive: true });
writeFileSync(join(top, "outside"), "outside");
writeFileSync(join(top, "lower/etc/hosts"), "lower");
writeFileSync(join(top, "lower/usr/bin/sh"), "sh");
writeFileSync(join(top, "volume/in/file"), "volume");
for (const [path, target] of [
  ["lower/bin", "usr/bin"],
  ["lower/absolute", "/etc/hosts"],
  ["lower/climbing", `../../../../..${top}/outside`],
  ["lower/dangling", "/run/deep/file"],
  ["lower/circle", "circle"],
  ["upper/into-lower", "/bin/sh"],
  ["volume/to-root", "/etc/hosts"],
] as const)
  symlinkSync(target, join(top, path));

const tree = {
  layers: [join(top, "upper"), join(top, "lower")],
  binds: [{ destination: "/mnt", source: join(top, "volume") }],
};

test.each([
  ["/etc/hosts", "/etc/hosts"],
  ["/bin/sh", "/usr/bin/sh"],
  ["/into-lower", "/usr/bin/sh"],
  ["/absolute", "/etc/hosts"],
  ["/climbing", `${top}/outside`],
  ["/dangling", "/run/deep/file"],
  ["/dangling/../x", "/run/deep/x"],
  ["/none/deep", "/none/deep"],
  ["/../..//etc/./hosts", "/etc/hosts"],
  ["/mnt/to-root", "/etc/hosts"],
  ["/mnt/../bin", "/usr/bin"],
])("%s leads to %s", (path, wanted) => {
  expect(resolveInTree(tree, path)).toBe(wanted);
});

test("a circle of links is an error", () => {
  expect(() => resolveInTree(tree, "/circle")).toThrow("too many levels of symbolic links");
});

test.each([
  ["/etc/hosts", "lower"],
  ["/bin/sh", "sh"],
  ["/into-lower", "sh"],
  ["/mnt/in/file", "volume"],
  ["/climbing", undefined],
  ["/dangling", undefined],
  ["/none", undefined],
])("%s is opened inside only", (path, content) => {
  const fd = openInTree(tree, path);
  expect(fd === undefined ? undefined : readFileSync(`/proc/self/fd/${fd}`, "utf8")).toBe(content);
  if (fd !== undefined) closeSync(fd);
});

test("layers that are not there are no error", () => {
  expect(resolveInTree({ layers: ["/nonexistent"], binds: [] }, "/a/b")).toBe("/a/b");
});

test("the tree of a container: layers top first, and its binds", () => {
  const mounts = [
    { destination: "/proc", type: "proc", source: "proc" },
    { destination: "/a/../b", type: "bind", source: "/s" },
    { destination: "/c", source: "/t", options: ["rbind"] },
  ];
  const rootfs = { kind: "overlay", lower: ["/1", "/2"], upper: "/u", work: "/w" } as const;
  expect(treeOf(rootfs, { ociVersion: "1.2.1", mounts })).toEqual({
    layers: ["/u", "/1", "/2"],
    binds: [
      { destination: "/b", source: "/s" },
      { destination: "/c", source: "/t" },
    ],
  });
});
