import { expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as k from "../linux/constants.ts";
import { close, mkdirat, openat } from "../linux/file.ts";
import { removeTreeInTurns } from "./remove-tree.ts";

test("a tree of any depth, any names and links goes, and nothing else", async () => {
  const dir = mkdtempSync(join(tmpdir(), "inro-remove-"));
  try {
    mkdirSync(join(dir, "kept"));
    writeFileSync(join(dir, "kept/file"), "");
    mkdirSync(join(dir, "top/wide/empty"), { recursive: true });
    for (let i = 0; i < 100; i++) writeFileSync(join(dir, `top/wide/${i}`), "");
    writeFileSync(Buffer.concat([Buffer.from(`${dir}/top/`), Buffer.from([0xff, 0x0a])]), "");
    symlinkSync("../kept", join(dir, "top/link"));
    let fd = openat(k.AT_FDCWD, join(dir, "top"), k.O_RDONLY | k.O_DIRECTORY);
    for (let depth = 0; depth < 2500; depth++) {
      mkdirat(fd, "d", 0o700);
      const next = openat(fd, "d", k.O_RDONLY | k.O_DIRECTORY);
      close(fd);
      fd = next;
    }
    close(fd);
    const parent = openat(k.AT_FDCWD, dir, k.O_RDONLY | k.O_DIRECTORY);
    await removeTreeInTurns(parent, "top");
    await removeTreeInTurns(parent, "none");
    close(parent);
    expect(existsSync(join(dir, "top"))).toBe(false);
    expect(readdirSync(join(dir, "kept"))).toEqual(["file"]);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
