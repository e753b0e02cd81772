import { expect, test } from "bun:test";
import { direction, parsePlace } from "./places.ts";
import { followed, planCopy, renaming } from "./plan.ts";

const at = (path: string, kind: "directory" | "file" | "nothing") => ({
  path,
  exists: kind !== "nothing",
  directory: kind === "directory",
});

test.each([
  ["/s", false, at("/d", "directory"), "/d", undefined],
  ["/s", false, at("/d", "file"), "/", "d"],
  ["/s", false, at("/x/d", "nothing"), "/x", "d"],
  ["/s", true, at("/x/d", "nothing"), "/x", "d"],
  ["/s", true, at("/x/d/", "nothing"), "/x", "d"],
  ["/s/.", true, at("/x/d", "nothing"), "/x", "d"],
  ["/s/.", true, at("/d", "directory"), "/d", undefined],
])("%s (a directory: %s) to %o goes into %s as %s", (path, directory, to, into, name) => {
  expect(planCopy({ path, directory }, to)).toEqual({ into, name });
});

test("what cannot be copied is an error in docker's words", () => {
  expect(() => planCopy({ path: "/s", directory: true }, at("/f", "file"))).toThrow("cannot copy directory");
  expect(() => planCopy({ path: "/s", directory: false }, at("/d/", "nothing"))).toThrow("no such directory");
});

test("a followed symlink keeps its name, and the end of the path", () => {
  expect(followed("/l", "/d")).toEqual({ path: "/d", rebase: "l" });
  expect(followed("/l/.", "/d")).toEqual({ path: "/d/.", rebase: undefined });
  expect(followed("/l/", "/d")).toEqual({ path: "/d/", rebase: "l" });
});

test("entries are renamed at their first name only", () => {
  const text = (from: string, to: string, name: string) => renaming(from, to)(Buffer.from(name)).toString();
  expect(text("etc", "new", "etc/etc/x")).toBe("new/etc/x");
  expect(text(".", "new", "./x")).toBe("new/x");
  expect(text("/", "new", "/x")).toBe("new/x");
  expect(text("é", "e", "é/x")).toBe("e/x");
});

test("what names a container, and what a file", () => {
  expect(parsePlace("c:/x")).toEqual({ kind: "container", id: "c", path: "/x" });
  expect(parsePlace("./c:x")).toMatchObject({ kind: "here" });
  expect(parsePlace("/c:x")).toEqual({ kind: "here", path: "/c:x" });
  expect(parsePlace("-")).toEqual({ kind: "tar" });
  expect(() => direction("a:/x", "b:/x")).toThrow("copying between containers is not supported");
  expect(() => direction("a", "b")).toThrow("must specify at least one container source");
});
