import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readTar } from "../layers/tar-read.ts";
import { type TarMember, writeTar } from "../layers/tar-write.ts";
import * as k from "../linux/constants.ts";
import { close, openat } from "../linux/file.ts";
import { type ExtractOptions, Extractor } from "./extract.ts";
import { pack } from "./pack.ts";
import { pathStat } from "./stat.ts";

let dir: string;
let root: number;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "inro-archive-"));
  root = openat(k.AT_FDCWD, dir, k.O_PATH | k.O_DIRECTORY);
});
afterAll(() => {
  close(root);
  rmSync(dir, { recursive: true });
});

let count = 0;
/** A new directory below the root; its path there. */
function fresh(): string {
  const path = `/t${count++}`;
  mkdirSync(join(dir, path));
  return path;
}

async function names(path: string, name?: string): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of readTar(pack({ root, path, ...(name === undefined ? {} : { name }) }))) {
    for await (const _ of entry.body) {
      // Only that it is there.
    }
    found.push(
      entry.type === "hardlink" || entry.type === "symlink" ? `${entry.name} > ${entry.linkname}` : entry.name,
    );
  }
  return found;
}

const FILE = { type: "file", mode: 0o644, uid: 0, gid: 0, size: 0, mtime: 0n } as const;
type Entry = Partial<TarMember["header"]> & { name: string; text?: string };

async function extract(into: string, entries: Entry[], options: Partial<ExtractOptions> = {}): Promise<void> {
  const extractor = new Extractor({
    root,
    into,
    follow: true,
    owner: "ours",
    noOverwriteDirNonDir: false,
    ...options,
  });
  const members = entries.map(({ text, ...header }): TarMember => {
    const body = Buffer.from(text ?? "");
    return { header: { ...FILE, size: body.length, ...header }, body: [body] };
  });
  try {
    for await (const chunk of writeTar(members)) extractor.push(chunk);
    extractor.finish();
  } finally {
    extractor.close();
  }
}

describe("pack", () => {
  test("names begin with the last name of the path; its end says what is meant", async () => {
    const top = fresh();
    mkdirSync(join(dir, top, "d/e"), { recursive: true });
    writeFileSync(join(dir, top, "d/f"), "x");
    linkSync(join(dir, top, "d/f"), join(dir, top, "d/g"));
    symlinkSync("f", join(dir, top, "d/l"));
    symlinkSync("d", join(dir, top, "s"));
    const inside = ["e/", "f", "g > d/f", "l > f"];
    expect(await names(`${top}/d`)).toEqual(["d/", ...inside.map((name) => `d/${name}`)]);
    expect(await names(`${top}/d/`)).toEqual(["d/", ...inside.map((name) => `d/${name}`)]);
    expect(await names(`${top}/d/.`)).toEqual(["./", "./e/", "./f", "./g > ./f", "./l > f"]);
    expect(await names(`${top}/d/f`)).toEqual(["f"]);
    expect(await names(`${top}/s`)).toEqual(["s > d"]);
    expect((await names(`${top}/s/`))[0]).toBe("s/");
    expect((await names(`${top}/d`, "new")).slice(0, 2)).toEqual(["new/", "new/e/"]);
  });

  test("a tree that is deeper than descriptors may be open", async () => {
    const top = fresh();
    const deep = "d/".repeat(200);
    mkdirSync(join(dir, top, deep), { recursive: true });
    for (const level of [0, 100, 199]) writeFileSync(join(dir, top, "d/".repeat(level), "z"), "");
    const found = await names(top);
    expect(found).toHaveLength(204);
    expect(found.filter((name) => name.endsWith("/z")).map((name) => name.split("/").length)).toEqual([201, 102, 2]);
  });
});

describe("extract", () => {
  test("merges directories, replaces files, makes what is missing, keeps times", async () => {
    const top = fresh();
    mkdirSync(join(dir, top, "d"));
    writeFileSync(join(dir, top, "d/kept"), "");
    writeFileSync(join(dir, top, "f"), "old");
    await extract(top, [
      { name: "./", type: "directory", mode: 0o700 },
      { name: "d/", type: "directory", mode: 0o750, mtime: 1_000_000_000_000n },
      { name: "d/new", text: "n" },
      { name: "f", text: "new", mode: 0o600 },
      { name: "a/b/c", text: "c" },
      { name: "h", type: "hardlink", linkname: "f" },
    ]);
    expect(readFileSync(join(dir, top, "f"), "utf8")).toBe("new");
    expect(existsSync(join(dir, top, "d/kept"))).toBe(true);
    expect(statSync(join(dir, top, "d"))).toMatchObject({ mtimeMs: 1_000_000, mode: k.S_IFDIR | 0o750 });
    expect(readFileSync(join(dir, top, "a/b/c"), "utf8")).toBe("c");
    expect(statSync(join(dir, top, "h")).ino).toBe(statSync(join(dir, top, "f")).ino);
    // The directory itself keeps what it has.
    expect(statSync(join(dir, top)).mode & 0o777).not.toBe(0o700);
  });

  test("noOverwriteDirNonDir", async () => {
    const top = fresh();
    mkdirSync(join(dir, top, "d"));
    writeFileSync(join(dir, top, "f"), "");
    const strict = { noOverwriteDirNonDir: true };
    await expect(extract(top, [{ name: "d", text: "x" }], strict)).rejects.toThrow("cannot overwrite directory");
    await expect(extract(top, [{ name: "f/", type: "directory" }], strict)).rejects.toThrow(
      "cannot overwrite non-directory",
    );
    await extract(top, [
      { name: "d", text: "x" },
      { name: "f/", type: "directory" },
    ]);
    expect(lstatSync(join(dir, top, "d")).isFile()).toBe(true);
    expect(lstatSync(join(dir, top, "f")).isDirectory()).toBe(true);
  });

  test("hard links across more directories than are held open", async () => {
    const top = fresh();
    const links = Array.from({ length: 300 }, (_, i): Entry[] => [
      { name: `d${i}/f`, text: String(i) },
      { name: `d${(i * 7) % 300}/l${i}`, type: "hardlink", linkname: `d${i}/f` },
    ]);
    await extract(top, links.flat());
    for (let i = 0; i < 300; i++)
      expect(readFileSync(join(dir, top, `d${(i * 7) % 300}/l${i}`), "utf8")).toBe(String(i));
  });

  test("zeros become holes, and the size is right", async () => {
    const top = fresh();
    const text = `${"\0".repeat(1 << 20)}x${"\0".repeat(1 << 20)}`;
    await extract(top, [{ name: "sparse", text }]);
    expect(readFileSync(join(dir, top, "sparse"), "latin1")).toBe(text);
    expect(statSync(join(dir, top, "sparse")).blocks * 512).toBeLessThan(1 << 17);
  });

  test.each([
    ["../x", "leads out"],
    ["a/../../x", "leads out"],
  ])("the name %s is refused", async (name, why) => {
    await expect(extract(fresh(), [{ name, text: "x" }])).rejects.toThrow(why);
  });

  test("symlinks lead on inside the root, and with `follow` off nowhere", async () => {
    const top = fresh();
    const other = fresh();
    const link: Entry = { name: "l", type: "symlink", linkname: other };
    await extract(top, [link, { name: "l/x", text: "in" }]);
    expect(readFileSync(join(dir, other, "x"), "utf8")).toBe("in");
    const outside = join(dir, "..", "inro-archive-outside");
    await extract(top, [
      { name: "up", type: "symlink", linkname: `../../../../..${outside}` },
      { name: "up/x", text: "no" },
    ]).catch(() => {});
    expect(existsSync(outside)).toBe(false);
    for (const target of [other, "d", ".."]) {
      const strict = fresh();
      mkdirSync(join(dir, strict, "d"));
      const entries: Entry[] = [
        { name: "l", type: "symlink", linkname: target },
        { name: "l/y", text: "no" },
      ];
      await expect(extract(strict, entries, { follow: false })).rejects.toThrow("a symlink is in the way");
      expect(readlinkSync(join(dir, strict, "l"))).toBe(target);
      expect(existsSync(join(dir, other, "y"))).toBe(false);
    }
  });

  test("as our own: no setuid, no devices, and directories that their maker can fill", async () => {
    const top = fresh();
    const warnings: string[] = [];
    const entries: Entry[] = [
      { name: "d/", type: "directory", mode: 0o500 },
      { name: "d/su", text: "x", mode: 0o6755, uid: 12345 },
      { name: "null", type: "char", devMajor: 1, devMinor: 3 },
    ];
    await extract(top, entries, { warn: (message) => warnings.push(message) });
    expect(statSync(join(dir, top, "d/su"))).toMatchObject({ mode: k.S_IFREG | 0o755, uid: process.getuid!() });
    expect(statSync(join(dir, top, "d")).mode & 0o777).toBe(0o500);
    expect(existsSync(join(dir, top, "null"))).toBe(false);
    expect(warnings).toEqual(['"null" is a device, and left out']);
    chmodSync(join(dir, top, "d"), 0o700);
  });

  test("into what is no directory", async () => {
    const top = fresh();
    writeFileSync(join(dir, top, "f"), "");
    await expect(extract(`${top}/f`, [])).rejects.toMatchObject({
      kind: "invalid",
      message: "extraction point is not a directory",
    });
    await expect(extract(`${top}/none`, [])).rejects.toMatchObject({ kind: "notFound" });
  });
});

test("what is at a path, as Go says it", () => {
  const top = fresh();
  const file = join(dir, top, "f");
  writeFileSync(file, "four");
  chmodSync(file, 0o4750);
  utimesSync(file, 1, 1.5);
  symlinkSync(`${top}/g/../f`, join(dir, top, "l"));
  symlinkSync("none/at/all", join(dir, top, "dangling"));
  mkdirSync(join(dir, top, "g"), { mode: 0o755 });
  const shown = (path: string) => pathStat(root, `${top}${path}`).shown;
  expect(shown("/f")).toEqual({
    name: "f",
    size: 4,
    mode: 2 ** 23 + 0o750,
    mtime: "1970-01-01T00:00:01.5Z",
    linkTarget: "",
  });
  expect(shown("/g")).toMatchObject({ name: "g", mode: 2 ** 31 + 0o755 });
  expect(shown("/g/.")).toMatchObject({ name: "." });
  expect(shown("/l")).toMatchObject({ mode: 2 ** 27 + 0o777, linkTarget: `${top}/f` });
  expect(shown("/dangling")).toMatchObject({ linkTarget: `${top}/none/at/all` });
  expect(() => shown("/nothing")).toThrow("ENOENT");
});
