import { expect, test } from "bun:test";
import { containerPath, keepEnd, splitEntry } from "./path.ts";

test.each([
  ["/etc", "/etc"],
  ["etc", "/etc"],
  ["/etc/", "/etc/"],
  ["/etc/.", "/etc/."],
  ["/etc/./", "/etc/."],
  ["/", "/"],
  [".", "/."],
  ["/.", "/."],
  ["a//b/../c", "/a/c"],
  ["../../etc/passwd", "/etc/passwd"],
  ["/a/..", "/"],
])("the container's path %j is %j", (given, wanted) => {
  expect(containerPath(given)).toBe(wanted);
});

test("a NUL in a path is refused", () => {
  expect(() => containerPath("/a\0b")).toThrow("holds a NUL");
});

test("a clean path gets the end that it had", () => {
  expect(keepEnd("/a", "b/../a/")).toBe("/a/");
  expect(keepEnd("/a", "./a/.")).toBe("/a/.");
  expect(keepEnd("/", "/.")).toBe("/.");
});

test.each([
  ["/a/b", "/a", "b"],
  ["/a/b/", "/a", "b"],
  ["/a/.", "/a", "."],
  ["/", "/", "/"],
  ["/.", "/", "."],
])("%j is in %j as %j", (path, directory, name) => {
  expect(splitEntry(path)).toEqual({ directory, name });
});
