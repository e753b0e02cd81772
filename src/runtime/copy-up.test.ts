import { afterAll, expect, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as k from "../linux/constants.ts";
import { close, getxattr, openat, setxattr } from "../linux/file.ts";
import { COPY_LIMITS, type CopyLimits, copyTree } from "./copy-up.ts";

const top = mkdtempSync(join(tmpdir(), "inro-copy-"));
afterAll(() => rmSync(top, { recursive: true }));
let count = 0;

/** Copies what `fill` makes; the directory of the copy. */
function copy(fill: (source: string) => void, limits: CopyLimits = COPY_LIMITS): string {
  const [source, target] = [join(top, `s${count}`), join(top, `t${count++}`)];
  for (const path of [source, target]) mkdirSync(path);
  fill(source);
  const [from, to] = [source, target].map((path) => openat(k.AT_FDCWD, path, k.O_PATH | k.O_DIRECTORY));
  try {
    copyTree(from!, to!, { limits });
    return target;
  } finally {
    close(from!);
    close(to!);
  }
}

test.skipIf(process.getuid?.() !== 0)("extended attributes and times (as root)", () => {
  const target = copy((source) => {
    writeFileSync(join(source, "f"), "x");
    const fd = openat(k.AT_FDCWD, join(source, "f"), k.O_RDONLY);
    setxattr(fd, "security.inro", Buffer.from("kept"));
    close(fd);
  });
  const fd = openat(k.AT_FDCWD, join(target, "f"), k.O_RDONLY);
  expect(getxattr(fd, "security.inro")?.toString()).toBe("kept");
  close(fd);
  expect(statSync(join(target, "f")).mtimeMs).toBe(statSync(join(top, `s${count - 1}`, "f")).mtimeMs);
});

test("a symlink stays one, wherever it leads", () => {
  const target = copy((source) => {
    symlinkSync("/etc", join(source, "out"));
    symlinkSync("..", join(source, "up"));
  });
  expect(readdirSync(target, { withFileTypes: true }).every((entry) => entry.isSymbolicLink())).toBe(true);
});

test("data around holes", () => {
  const content = Buffer.alloc(1 << 20);
  content.write("middle", 600_000);
  const target = copy((source) => writeFileSync(join(source, "f"), content));
  expect(readFileSync(join(target, "f")).equals(content)).toBe(true);
});

const symlinks = (source: string, ...names: string[]) => {
  for (const name of names) symlinkSync("x", join(source, name));
};

test.each<[string, (source: string) => void, string]>([
  ["files", (source) => symlinks(source, "a", "b", "c"), "over 2 files"],
  ["bytes", (source) => writeFileSync(join(source, "a"), "0123456789"), "over 4 bytes"],
  ["directories in each other", (source) => mkdirSync(join(source, "d/".repeat(250)), { recursive: true }), "200 deep"],
])("too many %s", (what, fill, message) => {
  const limits = what === "directories in each other" ? COPY_LIMITS : { entries: 2, bytes: 4, depth: 200 };
  expect(() => copy(fill, limits)).toThrow(message);
});
