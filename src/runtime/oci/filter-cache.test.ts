import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FilterCache } from "./filter-cache.ts";

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "inro-filters-"));
});
afterAll(() => rmSync(root, { recursive: true }));

const filter = { code: new Uint8Array([6, 0, 0, 0, 0, 0, 0xff, 0x7f]), count: 1, flags: 4, listener: false };

test("a filter comes back for the same profile and build alone", () => {
  const cache = new FilterCache(root, "profile", "build 1");
  expect(cache.read()).toBeUndefined();
  cache.write(filter);
  const found = new FilterCache(root, "profile", "build 1").read();
  expect(found).toMatchObject({ count: 1, flags: 4, listener: false });
  expect([...found!.code]).toEqual([...filter.code]);
  expect(new FilterCache(root, "another", "build 1").read()).toBeUndefined();
  expect(new FilterCache(root, "profile", "build 2").read()).toBeUndefined();
  expect(statSync(join(root, "seccomp@cache")).mode & 0o777).toBe(0o700);
});

test("a file that is cut short counts as none", () => {
  const cache = new FilterCache(root, "cut", "build 1");
  cache.write(filter);
  const directory = join(root, "seccomp@cache");
  for (const name of readdirSync(directory)) truncateSync(join(directory, name), 20);
  expect(cache.read()).toBeUndefined();
});

test("from a checkout there is none", () => {
  const cache = new FilterCache(root, "profile");
  cache.write(filter);
  expect(cache.read()).toBeUndefined();
});

test("it does not grow without end", () => {
  for (let i = 0; i < 100; i++) new FilterCache(root, String(i), "build 1").write(filter);
  expect(readdirSync(join(root, "seccomp@cache")).length).toBeLessThanOrEqual(64);
});
