import { expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

/** Who may import whom: a folder sees those below it. The command line sees the engine only through its client. */
const ORDER = [
  ["main"],
  ["daemon"],
  ["cli"],
  ["client"],
  ["api"],
  ["engine"],
  ["build"],
  ["archive"],
  ["images"],
  ["network"],
  ["registry"],
  ["layers"],
  ["content"],
  ["runtime"],
  ["security"],
  ["cgroups"],
  ["dbus"],
  ["program"],
  ["worker"],
  ["linux"],
  ["spec"],
  ["base"],
].flat();
const ONLY: Record<string, string[]> = {
  client: ["client", "spec", "base"],
  cli: ["cli", "client", "archive", "program", "linux", "spec", "base"],
};

const src = resolve(import.meta.dir, "../src");

function files(dir: string): string[] {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    return statSync(path).isDirectory()
      ? files(path)
      : path.endsWith(".ts") && !path.endsWith(".test.ts")
        ? [path]
        : [];
  });
}

const room = (path: string) => {
  const [first, ...rest] = relative(src, path).split("/");
  return rest.length === 0 ? "main" : first!;
};

function imports(path: string): string[] {
  const text = readFileSync(path, "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map((match) => resolve(dirname(path), match[1]!));
}

test("imports point downward", () => {
  const wrong: string[] = [];
  for (const path of files(src)) {
    const from = room(path);
    expect(ORDER).toContain(from);
    for (const target of imports(path)) {
      const to = room(target);
      const allowed = ONLY[from]?.includes(to) ?? ORDER.indexOf(to) >= ORDER.indexOf(from);
      if (!allowed) wrong.push(`${relative(src, path)} imports ${relative(src, target)}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("bun:ffi is imported in linux/ only", () => {
  const wrong = files(src).filter(
    (path) => room(path) !== "linux" && /from "bun:ffi"/.test(readFileSync(path, "utf8")),
  );
  expect(wrong).toEqual([]);
});

test("the paths that ARCHITECTURE.md names exist", () => {
  const text = readFileSync(join(src, "../ARCHITECTURE.md"), "utf8");
  const named = [...text.matchAll(/`((?:src|test|bench|build)\/[\w./-]+)`/g)].map((match) => match[1]!);
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter((path) => !statSync(join(src, "..", path), { throwIfNoEntry: false }))).toEqual([]);
});
