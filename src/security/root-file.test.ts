import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as k from "../linux/constants.ts";
import { close, openat } from "../linux/file.ts";
import { readRootFile } from "./root-file.ts";
import { readUserFiles } from "./users.ts";

const dir = mkdtempSync(join(tmpdir(), "inro-root-file-"));
const root = join(dir, "root");
let rootfd = -1;
beforeAll(() => {
  mkdirSync(join(root, "etc"), { recursive: true });
  writeFileSync(join(dir, "passwd"), "outside");
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0::/root:/bin/sh\n");
  rootfd = openat(k.AT_FDCWD, root, k.O_PATH | k.O_DIRECTORY);
});
afterAll(() => {
  close(rootfd);
  rmSync(dir, { recursive: true });
});

test("reads a regular file, undefined where there is none", () => {
  expect(readRootFile(rootfd, "/etc/passwd")).toBe("root:x:0:0::/root:/bin/sh\n");
  expect(readRootFile(rootfd, "/etc/none")).toBeUndefined();
  expect(readRootFile(rootfd, "/etc/passwd/below")).toBeUndefined();
  expect(readUserFiles(rootfd)).toEqual({ passwd: "root:x:0:0::/root:/bin/sh\n", group: undefined });
});

describe("links stay inside the root", () => {
  test("absolute ones and .. are resolved against it", () => {
    symlinkSync("/etc/passwd", join(root, "absolute"));
    symlinkSync("../../../passwd", join(root, "up"));
    symlinkSync(join(dir, "passwd"), join(root, "outside"));
    expect(readRootFile(rootfd, "absolute")).toStartWith("root:");
    expect(readRootFile(rootfd, "up")).toBeUndefined();
    expect(readRootFile(rootfd, "outside")).toBeUndefined();
    expect(readRootFile(rootfd, "../passwd")).toBeUndefined();
  });
  test("a loop is no file", () => {
    symlinkSync("loop", join(root, "loop"));
    expect(readRootFile(rootfd, "loop")).toBeUndefined();
  });
});

describe("what is no regular file is not read", () => {
  test("directory", () => expect(readRootFile(rootfd, "/etc")).toBeUndefined());
  test("FIFO, without blocking", () => {
    execFileSync("mkfifo", [join(root, "fifo")]);
    expect(readRootFile(rootfd, "fifo")).toBeUndefined();
  });
  test.skipIf(process.getuid?.() !== 0)("device (needs root)", () => {
    execFileSync("mknod", [join(root, "zero"), "c", "1", "5"]);
    expect(readRootFile(rootfd, "zero")).toBeUndefined();
  });
});

test("1 MiB is the limit", () => {
  const file = join(root, "large");
  writeFileSync(file, "");
  truncateSync(file, 2 ** 20);
  expect(readRootFile(rootfd, "large")).toHaveLength(2 ** 20);
  truncateSync(file, 2 ** 20 + 1);
  expect(() => readRootFile(rootfd, "large")).toThrow("read large: it is larger than 1048576 bytes");
});
