import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
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
import { InroError } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close, getxattr, listxattr, mknodat, openat, setxattr, statat } from "../linux/file.ts";
import type { Directory } from "./erofs/tree.ts";
import { TreeBuilder } from "./erofs/tree-builder.ts";
import { decodeTree, encodeTree } from "./erofs/tree-file.ts";
import type { TarHeader } from "./tar-header.ts";
import { readTar } from "./tar-read.ts";
import { type TarMember, writeTar } from "./tar-write.ts";
import { Unpacker } from "./unpack.ts";

const asRoot = process.getuid?.() === 0;
let dir: string;
let root: string;
let lower: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "inro-unpack-"));
  root = join(dir, "root");
  lower = join(dir, "lower");
  mkdirSync(root);
  mkdirSync(lower);
  mkdirSync(join(dir, "outside"));
  writeFileSync(join(dir, "outside", "secret"), "outside");
});
afterEach(() => rmSync(dir, { recursive: true }));

type Line = Partial<TarHeader> & { name: string | Uint8Array; text?: string };
const file = (name: string, text = "", more: Partial<TarHeader> = {}): Line => ({ name, text, ...more });
const directory = (name: string, more: Partial<TarHeader> = {}): Line => ({
  name,
  type: "directory",
  mode: 0o755,
  ...more,
});
const symlink = (name: string, linkname: string): Line => ({ name, type: "symlink", linkname });
const hardlink = (name: string, linkname: string): Line => ({ name, type: "hardlink", linkname });

/** In both forms: as directories, and as a tree, which must say the same; its size is the result. */
async function unpack(lines: Line[], lowers = [lower], target = root): Promise<number> {
  const members: TarMember[] = lines.map(({ text = "", ...header }) => ({
    header: { type: "file", mode: 0o644, uid: 0, gid: 0, size: text.length, mtime: 0n, ...header },
    body: [Buffer.from(text)],
  }));
  const before = readdirSync(target).length > 0;
  const unpacker = new Unpacker(target, lowers);
  try {
    for await (const entry of readTar(writeTar(members))) {
      unpacker.entry(entry);
      for await (const chunk of entry.body) unpacker.data(chunk);
      unpacker.end();
    }
    unpacker.finish();
    if (readdirSync(target).length > 0 && !before) expectSame(target, await treeOf(members));
    return unpacker.size;
  } catch (error) {
    if (error instanceof InroError) await expect(treeOf(members)).rejects.toThrow("unpack entry");
    throw error;
  } finally {
    unpacker.close();
  }
}

async function treeOf(members: TarMember[]): Promise<Directory> {
  const builder = new TreeBuilder();
  for await (const entry of readTar(writeTar(members))) builder.entry(entry);
  return decodeTree(encodeTree(builder.root));
}

/** What the directory of a layer has is what its tree says; attributes only where the layer itself says them. */
function expectSame(directory: string, tree: Directory): void {
  const [have, want] = [[] as unknown[], [] as unknown[]];
  compare(directory, tree, have, want);
  expect(have).toEqual(want);
}

const FORMATS = { file: k.S_IFREG, directory: k.S_IFDIR, symlink: k.S_IFLNK, char: k.S_IFCHR, block: k.S_IFBLK };

function compare(directory: string, tree: Directory, have: unknown[], want: unknown[]): void {
  // An opaque root is spelt out: in whiteouts, and directories that are opaque.
  const spelt = tree.opaque && directory === root;
  const names = readdirSync(directory, { encoding: "latin1" }).filter((name) => !spelt || tree.children.has(name));
  have.push(...names.sort());
  want.push(...[...tree.children.keys()].sort());
  for (const [name, node] of tree.children) {
    const path = Buffer.from(`${directory}/`.concat(name), "latin1");
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (!stat) continue;
    const format = stat.mode & k.S_IFMT;
    if (node.kind === "whiteout") {
      have.push(format, stat.rdev);
      want.push(k.S_IFCHR, 0);
      continue;
    }
    have.push(format);
    want.push(node.kind === "fifo" ? k.S_IFIFO : FORMATS[node.kind]);
    if (node.kind !== "directory" || !node.implied) {
      have.push(stat.mode & 0o7777, stat.uid, stat.gid, Math.floor(stat.mtimeMs));
      want.push(node.mode, node.uid, node.gid, Number(node.mtime / 1_000_000n));
    }
    if (node.kind === "file") {
      have.push(stat.size);
      want.push(node.size);
    }
    if (node.kind === "symlink") {
      have.push(readlinkSync(path, "latin1"));
      want.push(node.target);
    }
    if (node.kind !== "directory") continue;
    if (!spelt) {
      const fd = openat(k.AT_FDCWD, path, k.O_PATH);
      have.push(getxattr(fd, "trusted.overlay.opaque") !== undefined);
      want.push(node.opaque);
      close(fd);
    }
    if (/^[\x20-\x7e]*$/.test(name)) compare(`${directory}/${name}`, node, have, want);
  }
}

const at = (name: string) => join(root, name);
const text = (name: string) => readFileSync(at(name), "utf8");
const tree = (where = root) => walk(where, "").sort().join(" ");
const walk = (where: string, prefix: string): string[] =>
  readdirSync(where, { withFileTypes: true }).flatMap((entry) => [
    prefix + entry.name,
    ...(entry.isDirectory() ? walk(join(where, entry.name), `${prefix}${entry.name}/`) : []),
  ]);
const isWhiteout = (path: string) => lstatSync(path).isCharacterDevice() && lstatSync(path).rdev === 0;

function xattr(path: string, name: string): string | undefined {
  const fd = openat(k.AT_FDCWD, path, k.O_PATH);
  try {
    return getxattr(fd, name)?.toString("latin1");
  } finally {
    close(fd);
  }
}

function setXattr(path: string, name: string, value: string): void {
  const fd = openat(k.AT_FDCWD, path, k.O_PATH);
  setxattr(fd, name, Buffer.from(value));
  close(fd);
}

const opaque = (name: string) => xattr(at(name), "trusted.overlay.opaque") === "y";

describe.skipIf(!asRoot)("attributes (needs root: chown, mknod, trusted xattrs)", () => {
  test("files, directories, links, fifos and devices", async () => {
    const mtime = 1_500_000_000_123_456_789n;
    const common = { uid: 12, gid: 34, mtime };
    const size = await unpack([
      directory("./", { mode: 0o711, ...common }),
      directory("d/", { mode: 0o2770, ...common }),
      file("d/f", "content", { mode: 0o6755, ...common }),
      { ...symlink("d/s", "/etc/passwd"), ...common },
      hardlink("d/h", "d/f"),
      hardlink("d/hs", "/d/s"),
      { name: "d/p", type: "fifo", mode: 0o604, ...common },
      { name: "d/c", type: "char", mode: 0o640, devMajor: 1, devMinor: 3, ...common },
      { name: "d/b", type: "block", mode: 0o4666, devMajor: 4095, devMinor: 1048575, ...common },
    ]);
    expect(size).toBe(7);
    const seen = ["", "d", "d/f", "d/s", "d/h", "d/hs", "d/p", "d/c", "d/b"].map((name) => {
      const stat = statat(k.AT_FDCWD, at(name));
      return [name, stat.mode.toString(8), stat.uid, stat.gid, stat.mtime, stat.rdevMajor, stat.rdevMinor];
    });
    expect(seen).toEqual([
      ["", "40711", 12, 34, mtime, 0, 0],
      ["d", "42770", 12, 34, mtime, 0, 0],
      ["d/f", "106755", 12, 34, mtime, 0, 0],
      ["d/s", "120777", 12, 34, mtime, 0, 0],
      ["d/h", "106755", 12, 34, mtime, 0, 0],
      ["d/hs", "120777", 12, 34, mtime, 0, 0],
      ["d/p", "10604", 12, 34, mtime, 0, 0],
      ["d/c", "20640", 12, 34, mtime, 1, 3],
      ["d/b", "64666", 12, 34, mtime, 4095, 1048575],
    ]);
    expect(readlinkSync(at("d/s"))).toBe("/etc/passwd");
    expect(statSync(at("d/h")).ino).toBe(statSync(at("d/f")).ino);
    expect(text("d/f")).toBe("content");
  });

  test("the process's umask changes nothing", async () => {
    const old = process.umask(0o077);
    try {
      await unpack([
        directory("d", { mode: 0o777 }),
        file("d/f", "", { mode: 0o666 }),
        { name: "p", type: "fifo", mode: 0o666 },
      ]);
    } finally {
      process.umask(old);
    }
    for (const [name, mode] of [
      ["d", 0o777],
      ["d/f", 0o666],
      ["p", 0o666],
    ] as const) {
      expect(statSync(at(name)).mode & 0o777).toBe(mode);
    }
  });

  test("xattrs: portable ones are set, those that mean something to this machine are not", async () => {
    // vfs_cap_data revision 2 with cap_net_raw, as setcap writes it.
    const capability = Buffer.from("0100000200200000000000000000000000000000", "hex");
    const xattrs = new Map<string, Buffer>([
      ["security.capability", capability],
      ["user.note", Buffer.from("a\0b")],
      ["trusted.overlay.opaque", Buffer.from("y")],
      ["trusted.overlay.redirect", Buffer.from("/etc")],
      ["trusted.other", Buffer.from("x")],
      ["user.overlay.opaque", Buffer.from("y")],
    ]);
    await unpack([directory("d", { xattrs: new Map([...xattrs].slice(1)) }), file("f", "x", { xattrs, mode: 0o755 })]);
    expect(xattr(at("f"), "security.capability")).toBe(capability.toString("latin1"));
    for (const name of ["f", "d"]) {
      expect(xattr(at(name), "user.note")).toBe("a\0b");
      const fd = openat(k.AT_FDCWD, at(name), k.O_PATH);
      expect(listxattr(fd).filter((attribute) => /trusted|overlay/.test(attribute))).toEqual([]);
      close(fd);
    }
  });

  test("names are bytes", async () => {
    const name = Buffer.from([0x64, 0xff, 0x2f, 0xc3, 0xbc]);
    await unpack([{ name, text: "x" }]);
    const fd = openat(k.AT_FDCWD, root, k.O_RDONLY | k.O_DIRECTORY);
    expect(statat(fd, name).size).toBe(1);
    close(fd);
  });
});

describe.skipIf(!asRoot)("an entry over an existing path (needs root)", () => {
  test("replaces it, but directories stay and take the new attributes", async () => {
    await unpack([
      file("a", "old"),
      file("a", "new"),
      directory("d"),
      file("d/kept"),
      directory("d", { mode: 0o700, uid: 5 }),
      directory("gone/deep/deeper"),
      file("gone/deep/f"),
      file("gone", "now a file"),
      symlink("s", "d"),
      directory("s"),
      file("s/inside"),
      file("f"),
      symlink("f", "a"),
      file("f", "not through the link"),
      file("x"),
      directory("x"),
    ]);
    expect(tree()).toBe("a d d/kept f gone s s/inside x");
    expect([text("a"), text("gone"), text("f")]).toEqual(["new", "now a file", "not through the link"]);
    expect([statSync(at("d")).mode & 0o7777, statSync(at("d")).uid]).toEqual([0o700, 5]);
    expect(lstatSync(at("x")).isDirectory()).toBe(true);
  });

  test("descriptors of a removed directory are not used again", async () => {
    await unpack([
      directory("real"),
      symlink("alias", "real"),
      file("alias/one"),
      file("real", "a file now"),
      directory("real2"),
      symlink("alias", "real2"),
      file("alias/two"),
    ]);
    expect(tree()).toBe("alias real real2 real2/two");
  });

  test("more directories than are kept open", async () => {
    const lines = Array.from({ length: 600 }, (_, i) => file(`d${i}/e/f`, String(i)));
    await unpack([...lines, ...lines.map((line) => ({ ...line, name: `${String(line.name)}2` }))]);
    expect(readdirSync(root).length).toBe(600);
    expect(text("d599/e/f2")).toBe("599");
  });
});

describe.skipIf(!asRoot)("whiteouts (needs root: mknod)", () => {
  test("a whiteout, an opaque directory, AUFS's own files", async () => {
    await unpack([
      directory("d"),
      file("d/.wh.gone"),
      directory("o"),
      file("o/new"),
      file("o/.wh..wh..opq"),
      file(".wh..wh.aufs"),
      directory(".wh..wh.plnk"),
      file(".wh..wh.plnk/123.456", "x"),
    ]);
    expect(tree()).toBe("d d/gone o o/new");
    expect(isWhiteout(at("d/gone"))).toBe(true);
    expect([opaque("o"), opaque("d")]).toEqual([true, false]);
  });

  test("is about lower layers only, in either order", async () => {
    await unpack([
      file("f", "kept"),
      file(".wh.f"),
      directory("d"),
      file("d/kept"),
      file(".wh.d"),
      file(".wh.later"),
      file("later", "kept"),
      file(".wh.dir"),
      directory("dir"),
      file(".wh.implied"),
      file("implied/f"),
      file("marked/.wh..wh..opq"),
      directory("marked"),
    ]);
    expect(tree()).toBe("d d/kept dir f implied implied/f later marked");
    expect([text("f"), text("later")]).toEqual(["kept", "kept"]);
    expect(["d", "dir", "implied", "marked"].map(opaque)).toEqual([true, true, true, true]);
  });

  test("an opaque root is spelt out, since overlayfs does not look there", async () => {
    writeFileSync(join(lower, "hidden"), "");
    mkdirSync(join(lower, "both"));
    await unpack([directory("both"), file(".wh..wh..opq")]);
    expect(tree()).toBe("both hidden");
    expect(isWhiteout(at("hidden"))).toBe(true);
    expect(opaque("both")).toBe(true);
  });
});

describe.skipIf(!asRoot)("directories that only a lower layer describes (needs root: chown)", () => {
  beforeEach(() => {
    mkdirSync(join(lower, "a/b/c"), { recursive: true });
    for (const name of ["a", "a/b", "a/b/c"]) {
      chownSync(join(lower, name), 7, 8);
      chmodSync(join(lower, name), 0o3750);
      utimesSync(join(lower, name), 1000, 1000);
    }
    chmodSync(lower, 0o701);
    setXattr(join(lower, "a"), "user.note", "n");
    setXattr(join(lower, "a"), "trusted.overlay.opaque", "y");
  });

  test("take its attributes, and the root too", async () => {
    await unpack([file("a/b/c/f")]);
    for (const name of ["a", "a/b", "a/b/c"]) {
      const { mode, uid, gid, mtimeMs } = statSync(at(name));
      expect([name, mode & 0o7777, uid, gid, mtimeMs]).toEqual([name, 0o3750, 7, 8, 1_000_000]);
    }
    expect(statSync(root).mode & 0o7777).toBe(0o701);
    expect(xattr(at("a"), "user.note")).toBe("n");
    expect(opaque("a")).toBe(false);
  });

  test("unless the archive describes them later", async () => {
    await unpack([file("a/b/f"), directory("a", { mode: 0o711, uid: 1, mtime: 5_000_000_000n })]);
    expect([statSync(at("a")).mode & 0o7777, statSync(at("a")).uid, statSync(at("a")).mtimeMs]).toEqual([
      0o711, 1, 5000,
    ]);
    expect(statSync(at("a/b")).uid).toBe(7);
  });

  test("the nearest layer counts; a whiteout, a file or an opaque directory ends the search", async () => {
    const near = join(dir, "near");
    mkdirSync(join(near, "a/b"), { recursive: true });
    chmodSync(join(near, "a"), 0o711);
    mkdirSync(join(near, "o"));
    mkdirSync(join(lower, "o/x"), { recursive: true });
    chmodSync(join(lower, "o/x"), 0o700);
    setXattr(join(near, "o"), "trusted.overlay.opaque", "y");
    for (const name of ["w", "f"]) {
      mkdirSync(join(lower, name));
      chmodSync(join(lower, name), 0o700);
    }
    mknodat(k.AT_FDCWD, join(near, "w"), k.S_IFCHR, 0);
    writeFileSync(join(near, "f"), "");
    await unpack([file("a/b/c/f"), file("o/x/f"), file("w/f"), file("f/f")], [near, lower]);
    const modes = ["a", "a/b", "a/b/c", "o/x", "w", "f"].map((name) => (statSync(at(name)).mode & 0o7777).toString(8));
    expect(modes).toEqual(["711", "755", "3750", "755", "755", "755"]);
  });

  test("below what this layer hides they are plain", async () => {
    await unpack([file(".wh.a"), file("a/b/c/f")]);
    for (const name of ["a", "a/b", "a/b/c"]) expect(statSync(at(name)).mode & 0o7777).toBe(0o755);
  });
});

describe.skipIf(!asRoot)("hostile archives (needs root)", () => {
  test("an absolute name is below the layer's root, as with docker", async () => {
    await unpack([directory("/etc"), file("//etc/passwd", "mine"), symlink("/l", "/etc"), file("/l/made", "x")]);
    expect(readFileSync(at("etc/passwd"), "utf8")).toBe("mine");
    expect(readFileSync(at("etc/made"), "utf8")).toBe("x");
  });

  const refused: [string, Line[], string][] = [
    ["..", [file("../escape")], 'unpack entry "../escape": its name leads out of the layer'],
    [".. inside", [directory("a"), file("a/../../escape")], "leads out of the layer"],
    ["an absolute name with ..", [file("/../escape")], 'unpack entry "/../escape": its name leads out of the layer'],
    ["a hard link out by ..", [hardlink("h", "../outside/secret")], "leads out of the layer"],
    ["a hard link to an absolute path", [hardlink("h", "/etc/passwd")], 'its target "/etc/passwd" is not in the layer'],
    ["a hard link through a symlink", [symlink("s", "../outside"), hardlink("h", "s/secret")], "is not in the layer"],
    ["a hard link to a directory", [directory("d"), hardlink("h", "d")], 'unpack entry "h"'],
    ["a hard link to the root", [hardlink("h", "./")], "its target is the layer's root"],
    [".wh. alone", [file(".wh.")], 'unpack entry ".wh.": a whiteout that names nothing'],
    [".wh..", [file("d/.wh..")], "a whiteout that names nothing"],
    [".wh...", [file("d/.wh...")], "a whiteout that names nothing"],
    ["a whiteout as a directory", [file(".wh.d/f")], "a whiteout is used as a directory"],
    ["a long name", [file("n".repeat(300))], "ENAMETOOLONG (the kernel takes 255 bytes a name"],
    ["a long path", [file(`${"d/".repeat(3000)}f`)], "ENAMETOOLONG"],
    ["a file as a parent", [file("f"), file("f/g")], 'its parent "f" is a file'],
    ["a symlink out that dangles", [symlink("s", "../nowhere"), file("s/g")], 'its parent "s" is a dangling symlink'],
    ["a symlink loop", [symlink("s", "t"), symlink("t", "s"), file("s/g")], 'its parent "s" is a dangling symlink'],
    ["the root as a file", [file("./.")], "the layer's root is not a directory"],
    ["a symlink to nothing", [symlink("s", "")], "a symlink without a target"],
    [
      "a device number that would wrap",
      [{ name: "c", type: "char", devMajor: 4096, devMinor: 3 }],
      "device 4096:3 is out of range",
    ],
  ];
  test.each(refused)("refuses %s", async (_, lines, message) => {
    const before = tree(join(dir, "outside"));
    await expect(unpack(lines)).rejects.toThrow(message);
    expect(tree(join(dir, "outside"))).toBe(before);
    expect(readdirSync(dir).sort()).toEqual(["lower", "outside", "root"]);
  });

  test("a symlink out, then writing through it, stays inside", async () => {
    const up = `${"../".repeat(20)}${dir.slice(1)}/outside`;
    for (const target of [join(dir, "outside"), up, "../outside"]) {
      rmSync(root, { recursive: true });
      mkdirSync(root);
      // What the link means inside the root is there, so that the entry has somewhere to go.
      const inside = target.startsWith("../outside") ? "outside" : join(dir, "outside").slice(1);
      await unpack([
        directory(inside),
        symlink("s", target),
        file("s/secret", "overwritten"),
        hardlink("h", "s/secret"),
        file("s/.wh.other"),
        directory("s/new"),
        file("s/.wh..wh..opq"),
      ]);
      expect(text(`${inside}/secret`)).toBe("overwritten");
      expect(text("h")).toBe("overwritten");
      expect(existsSync(at(`${inside}/new`))).toBe(true);
      expect(tree(join(dir, "outside"))).toBe("secret");
      expect(readFileSync(join(dir, "outside/secret"), "utf8")).toBe("outside");
    }
  });

  test("a symlink as the last component is replaced, not followed", async () => {
    await unpack([symlink("s", join(dir, "outside/secret")), file("s", "mine", { uid: 3 })]);
    await unpack([symlink("t", join(dir, "outside")), directory("t", { uid: 3, mode: 0o777 })], []);
    expect(readFileSync(join(dir, "outside/secret"), "utf8")).toBe("outside");
    expect(statSync(join(dir, "outside")).uid).toBe(0);
    expect(lstatSync(at("t")).isDirectory()).toBe(true);
    expect(text("s")).toBe("mine");
  });

  test("a symlink in a lower layer is never followed", async () => {
    symlinkSync(join(dir, "outside"), join(lower, "s"));
    await unpack([file("s/secret", "mine")]);
    expect(text("s/secret")).toBe("mine");
    expect(readFileSync(join(dir, "outside/secret"), "utf8")).toBe("outside");
  });

  test("names are cleaned, but stay inside", async () => {
    await unpack([file("./a//b/./c/../d", "x")]);
    expect(tree()).toBe("a a/b a/b/d");
  });

  test("a very deep tree can be made and replaced", async () => {
    const deep = "d/".repeat(1500);
    await unpack([file(`${deep}f`), file("d", "flat")]);
    expect(tree()).toBe("d");
  });
});

describe.skipIf(!asRoot)("GNU tar (needs root)", () => {
  test("gives the same tree", async () => {
    const source = join(dir, "source");
    const made = spawnSync("sh", [
      "-ec",
      `mkdir -p "$0/bin" "$0/deep/a/b" && cp -a /etc/ssl /etc/alternatives "$0/" 2>/dev/null
       cp /bin/true "$0/bin/su" && chown 1:2 "$0/bin/su" && chmod 4755 "$0/bin/su"
       ln "$0/bin/su" "$0/deep/hard"; ln -s ../nowhere "$0/deep/link"; mkfifo "$0/deep/fifo"; mknod "$0/null" c 1 3
       chmod 1777 "$0/deep/a"; touch -d '2001-02-03 04:05:06.789' "$0/deep/a" "$0/deep/link"`,
      source,
    ]);
    expect([made.status, made.stderr.toString()]).toEqual([0, ""]);
    const archive = join(dir, "archive.tar");
    expect(spawnSync("tar", ["--format=pax", "-C", source, "-cf", archive, "."]).status).toBe(0);
    const unpacker = new Unpacker(root, []);
    for await (const entry of readTar([readFileSync(archive)])) {
      unpacker.entry(entry);
      for await (const chunk of entry.body) unpacker.data(chunk);
      unpacker.end();
    }
    unpacker.finish();
    unpacker.close();
    // tar itself says what differs: owner, mode, time, size, contents, link targets.
    const compared = spawnSync("tar", ["-C", root, "-df", archive]);
    expect([compared.stdout.toString(), compared.status]).toEqual(["", 0]);
    const list = (where: string) =>
      spawnSync("find", [where, "-printf", "%P %y %m %U %G %T@ %n %l\\n"]).stdout.toString().split("\n").sort();
    expect(list(root)).toEqual(list(source));
  });
});
