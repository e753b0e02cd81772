import { expect, test } from "bun:test";
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { codeOf } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close, mkdirat, openat } from "../linux/file.ts";
import { removeTrees } from "./remove-tree.ts";
import { dirSize } from "./tree-size.ts";

test("files are counted once, symlinks not followed, what is not there is nothing", async () => {
  const dir = mkdtempSync(join(tmpdir(), "inro-size-"));
  try {
    mkdirSync(join(dir, "top/a"), { recursive: true });
    mkdirSync(join(dir, "other"));
    writeFileSync(join(dir, "top/a/file"), "x".repeat(1000));
    linkSync(join(dir, "top/a/file"), join(dir, "top/again"));
    writeFileSync(join(dir, "other/file"), "x".repeat(50_000));
    symlinkSync("../other", join(dir, "top/link"));
    expect(await dirSize(join(dir, "top"))).toBe(1000 + "../other".length);
    expect(await dirSize(join(dir, "none"))).toBe(0);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("a tree that is deeper than any path is no error", async () => {
  const dir = mkdtempSync(join(tmpdir(), "inro-size-"));
  try {
    mkdirSync(join(dir, "top"));
    writeFileSync(join(dir, "top/file"), "four");
    let fd = openat(k.AT_FDCWD, join(dir, "top"), k.O_RDONLY | k.O_DIRECTORY);
    for (let depth = 0; depth < 2500; depth++) {
      mkdirat(fd, "d", 0o700);
      const next = openat(fd, "d", k.O_RDONLY | k.O_DIRECTORY);
      close(fd);
      fd = next;
    }
    close(fd);
    expect(await dirSize(join(dir, "top")).catch(codeOf)).toBe(4);
  } finally {
    removeTrees(dir, ["top"]);
    rmSync(dir, { recursive: true });
  }
});
