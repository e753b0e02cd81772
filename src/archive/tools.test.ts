import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as k from "../linux/constants.ts";
import { close, openat } from "../linux/file.ts";
import { fillTools } from "./tools.ts";

let dir: string;
let root: number;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "inro-tools-"));
  for (const path of ["root/usr/bin", "root/lib", "root/etc", "files/bin"])
    mkdirSync(join(dir, path), { recursive: true });
  symlinkSync("usr/bin", join(dir, "root/bin"));
  const put = (path: string, content: string | Uint8Array, mode = 0o755) =>
    writeFileSync(join(dir, "root", path), content, { mode });
  put("lib/ld.so", elf());
  put("usr/bin/static", elf());
  put("usr/bin/dynamic", elf("/lib/ld.so"));
  put("usr/bin/lost", elf("/lib/none.so"));
  put("usr/bin/script", "#!/bin/static -x\n");
  put("usr/bin/env-script", "#!/usr/bin/env dynamic\n");
  put("usr/bin/loop", "#!/usr/bin/loop\n");
  put("usr/bin/text", "no program\n");
  put("usr/bin/data", elf(), 0o644);
  symlinkSync("/etc/alternative", join(dir, "root/usr/bin/chosen"));
  symlinkSync("/usr/bin/dynamic", join(dir, "root/etc/alternative"));
  symlinkSync("/../../outside", join(dir, "root/usr/bin/outside"));
  writeFileSync(join(dir, "outside"), elf(), { mode: 0o755 });
  root = openat(k.AT_FDCWD, join(dir, "root"), k.O_PATH | k.O_DIRECTORY);
});
afterAll(() => {
  close(root);
  rmSync(dir, { recursive: true });
});

/** The headers of an ELF file that asks for a loader, or for none. */
function elf(loader?: string): Buffer {
  const file = Buffer.alloc(512);
  file.write("\x7fELF\x02\x01\x01", "latin1");
  file.writeBigUInt64LE(64n, 32);
  file.writeUInt16LE(56, 54);
  file.writeUInt16LE(1, 56);
  file.writeUInt32LE(loader ? 3 : 1, 64);
  file.writeBigUInt64LE(256n, 72);
  file.writeBigUInt64LE(BigInt((loader?.length ?? 0) + 1), 96);
  file.write(loader ?? "", 256);
  return file;
}

test("static programs as links, others by their own loader, scripts by their own interpreter", () => {
  const files = openat(k.AT_FDCWD, join(dir, "files"), k.O_RDONLY | k.O_DIRECTORY);
  // A descriptor's own path begins at its mount: here that is the machine's root.
  const place = "/place";
  try {
    expect(fillTools(files, root, { place })).toBe(5);
  } finally {
    close(files);
  }
  const at = (name: string) => join(dir, "files/bin", name);
  const words = (name: string) =>
    readFileSync(at(name))
      .toString("latin1")
      .split("\0")
      .filter((text) => /^[-/\w.:]{2,}$/.test(text) && !text.startsWith("ELF"))
      .map((text) => text.replaceAll(`${dir}/root`, ""));
  expect(readdirSync(join(dir, "files/bin")).sort()).toEqual(["chosen", "dynamic", "env-script", "script", "static"]);
  expect(readlinkSync(at("static")).replace(`${dir}/root`, "")).toBe("/place/root/usr/bin/static");
  const loaded = ["/place/root/lib/ld.so", "/place/root/lib/ld.so", "--library-path", "/place/root/lib"];
  expect(words("dynamic")).toEqual([...loaded, "/place/root/usr/bin/dynamic"]);
  expect(words("chosen")).toEqual([...loaded, "--argv0", "chosen", "/place/root/usr/bin/dynamic"]);
  expect(words("script")).toEqual([
    "/place/root/usr/bin/static",
    "/place/root/usr/bin/static",
    "-x",
    "/place/root/usr/bin/script",
  ]);
  expect(words("env-script")).toEqual([...loaded, "/place/root/usr/bin/dynamic", "/place/root/usr/bin/env-script"]);
  expect(existsSync(at("outside"))).toBe(false);
});
