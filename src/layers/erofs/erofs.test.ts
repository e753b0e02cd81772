import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import * as k from "../../linux/constants.ts";
import { close, getxattr, listxattr, openat } from "../../linux/file.ts";
import { openLayers } from "../copy-directory.ts";
import { type LayerForm, Layers } from "../layers.ts";
import type { TarHeader } from "../tar-header.ts";
import { type TarMember, writeTar } from "../tar-write.ts";
import { canMountIndexes } from "./mount.ts";

/** Layers without unpacking against layers unpacked: an overlay on either shows the same. */

const able = process.getuid?.() === 0 && canMountIndexes("/var/tmp");
let dir: string;
let stores: Record<LayerForm, Layers>;

beforeEach(() => {
  dir = mkdtempSync("/var/tmp/inro-erofs-");
  const store = (form: LayerForm) => new Layers(join(dir, form), form);
  stores = { directories: store("directories"), erofs: store("erofs") };
});
afterEach(async () => {
  for (const layers of Object.values(stores)) await layers.close();
  rmSync(dir, { recursive: true });
});

type Line = Partial<TarHeader> & { name: string | Uint8Array; text?: string };
const file = (name: string, text = "", more: Partial<TarHeader> = {}): Line => ({ name, text, ...more });
const folder = (name: string, more: Partial<TarHeader> = {}): Line => ({
  name,
  type: "directory",
  mode: 0o755,
  ...more,
});
const link = (name: string, linkname: string): Line => ({ name, type: "symlink", linkname });
const hard = (name: string, linkname: string): Line => ({ name, type: "hardlink", linkname });

async function tar(lines: readonly Line[]): Promise<Buffer> {
  const members: TarMember[] = lines.map(({ text = "", ...header }) => ({
    header: { type: "file", mode: 0o644, uid: 0, gid: 0, size: Buffer.byteLength(text), mtime: 0n, ...header },
    body: [Buffer.from(text)],
  }));
  return Buffer.concat(await Array.fromAsync(writeTar(members)));
}

async function stack(layers: Layers, tars: readonly Buffer[], compress = false): Promise<string[]> {
  const diffIds: string[] = [];
  for (const [i, data] of tars.entries()) {
    const path = join(dir, `blob-${i}`);
    writeFileSync(path, compress ? gzipSync(data) : data);
    const { diffId } = await layers.apply({ source: { path }, parents: diffIds, covered: i < tars.length - 1 });
    rmSync(path);
    diffIds.push(diffId);
  }
  return diffIds;
}

/** All that an overlay on the layers shows. Times of directories that no layer describes are left out. */
function shown(lowers: readonly string[], undescribed: readonly string[] = []): string[] {
  const root = openLayers(lowers);
  try {
    return list(`/proc/self/fd/${root}`, Buffer.from("."), undescribed).sort();
  } finally {
    close(root);
  }
}

function list(root: string, path: Buffer, undescribed: readonly string[]): string[] {
  const at = Buffer.concat([Buffer.from(`${root}/`), path]);
  const stat = lstatSync(at, { bigint: true });
  const type = Number(stat.mode) & k.S_IFMT;
  const name = path.toString("latin1");
  const words: unknown[] = [name, Number(stat.mode).toString(8), stat.uid, stat.gid, stat.rdev];
  if (!undescribed.includes(name)) words.push(stat.mtimeNs);
  if (type !== k.S_IFDIR) words.push(stat.nlink);
  if (type === k.S_IFREG) words.push(readFileSync(at, "latin1"));
  if (type === k.S_IFLNK) return [[...words, readlinkSync(at, "latin1")].join(" ")];
  const fd = openat(k.AT_FDCWD, at, k.O_PATH);
  for (const xattr of listxattr(fd).sort()) words.push(`${xattr}=${getxattr(fd, xattr)?.toString("latin1")}`);
  close(fd);
  const below = type === k.S_IFDIR ? readdirSync(at, { encoding: "buffer" }) : [];
  return [
    words.join(" "),
    ...below.flatMap((child) => list(root, Buffer.concat([path, Buffer.from("/"), child]), undescribed)),
  ];
}

const capability = Buffer.from("0100000200040000000000000000000000000000", "hex");
const acl = Buffer.from(
  "02000000010006000000000002000600e803000004000400ffffffff10000600ffffffff20000400ffffffff".replace(
    "010006000000000002",
    "01000600ffffffff02",
  ),
  "hex",
);
const long = "n".repeat(255);

const cases: Record<string, readonly (readonly Line[])[]> = {
  "an empty layer": [[]],
  "files, owners, modes, times": [
    [
      folder("d", { mode: 0o1777, uid: 70000, gid: 80000, mtime: 5_000_000_001n }),
      file("d/f", "text", { mode: 0o4755, uid: 1, gid: 2, mtime: -1_500_000_000n }),
      file("empty"),
      file("block", "b".repeat(512)),
      file("more", "m".repeat(513), { mtime: 4_294_967_296_000_000_000n }),
      { name: "c", type: "char", devMajor: 1, devMinor: 3, mode: 0o666 },
      { name: "b", type: "block", devMajor: 259, devMinor: 70_000, mode: 0o600 },
      { name: "p", type: "fifo", mode: 0o600 },
    ],
  ],
  links: [
    [
      file("a", "x"),
      hard("h1", "a"),
      hard("h2", "h1"),
      link("s", "a"),
      link("long", `${"/t".repeat(800)}`),
      link("middle", "m".repeat(470)),
      hard("s2", "s"),
      folder("r"),
      link("l", "r"),
      file("l/in", "through a link"),
    ],
  ],
  "xattrs, capabilities, ACLs": [
    [
      file("f", "x", {
        mode: 0o755,
        xattrs: new Map([
          ["security.capability", capability],
          ["user.a", Buffer.from("1")],
        ]),
      }),
      file("big", "y", { xattrs: new Map([["user.big", Buffer.alloc(3000, "v")]]) }),
      file("acl", "z", { mode: 0o664, xattrs: new Map([["system.posix_acl_access", acl]]) }),
      folder("d", {
        xattrs: new Map([
          ["user.d", Buffer.from("dir")],
          ["trusted.overlay.opaque", Buffer.from("y")],
        ]),
      }),
    ],
  ],
  names: [
    [
      file(long, "1"),
      file(`d/${long}`, "2"),
      { name: Buffer.from([0x66, 0xff, 0xfe]), text: "bytes" },
      ...["-", "+", "a", "B", "é", "~", "..a", ".b", " "].map((name) => file(name, name)),
    ],
  ],
  "a large directory": [
    [folder("d"), ...Array.from({ length: 900 }, (_, i) => file(`d/file-${i}`, `${i}`, { uid: i }))],
  ],
  "whiteouts and opaque directories": [
    [
      file("gone", "1"),
      file("stays"),
      folder("d"),
      file("d/one", "1"),
      file("d/two", "2"),
      file("o/below", "3"),
      file("x/y"),
    ],
    [file(".wh.gone"), file("d/.wh.one"), file("o/.wh..wh..opq"), file("o/above", "4"), file("x", "a file now")],
    [
      file("gone", "back"),
      file(".wh.nothing"),
      folder("x"),
      file("x/z", "5"),
      file(".wh.d"),
      folder("d"),
      file("d/new"),
    ],
  ],
  "an opaque root": [
    [file("a"), folder("d"), file("d/f")],
    [file(".wh..wh..opq"), file("b"), file("d/g")],
  ],
  "directories that only a lower layer describes": [
    [
      folder(".", { mode: 0o711, uid: 4 }),
      folder("tmp", { mode: 0o1777, gid: 7, mtime: 9_000_000_000n }),
      file("tmp/a"),
    ],
    [file("tmp/b"), file("made/here/f")],
    [file("tmp/.wh.a"), file("made/here/g")],
  ],
  "a directory over a file, and the other way round": [
    [file("a", "file"), folder("b"), file("b/c")],
    [folder("a"), file("a/in"), file("b", "file")],
    [file("a/.wh.in"), file("a/more")],
  ],
};

describe.skipIf(!able)("layers without unpacking (needs root, and Linux 6.15 with EROFS)", () => {
  test.each(Object.entries(cases))("%s", async (_, layers) => {
    const tars = await Promise.all(layers.map(tar));
    const undescribed = [".", "./d", "./o", "./x", "./made", "./made/here"];
    const diffIds = await stack(stores.directories, tars);
    expect(await stack(stores.erofs, tars, true)).toEqual(diffIds);
    const [lower, ...others] = stores.erofs.lowers(diffIds);
    expect(others).toEqual([]);
    const unpacked = shown(stores.directories.lowers(diffIds), undescribed);
    expect(unpacked.length).toBeGreaterThan(0);
    expect(shown([lower!], undescribed)).toEqual(unpacked);
  });

  test("a plain tar is the blob's file, and that of the same layer on another", async () => {
    const [base, other, same] = await Promise.all([tar([file("a")]), tar([file("b")]), tar([file("c", "c")])]);
    const path = join(dir, "same");
    writeFileSync(path, same);
    const below: string[] = [];
    for (const data of [base, other]) below.push(...(await stack(stores.erofs, [data])));
    for (const parent of below) await stores.erofs.apply({ source: { path }, parents: [parent] });
    expect(statSync(path).nlink).toBe(3);
    const { diffId } = await stores.erofs.apply({ source: { path }, parents: [] });
    const again = { source: { path: "/nowhere" }, parents: [...below], diffId };
    await stores.erofs.apply({ source: { path }, parents: [below[0]!], diffId: diffId });
    await expect(stores.erofs.apply(again)).rejects.toThrow("no such layer");
    expect(readFileSync(join(stores.erofs.lowers([below[1]!, diffId])[0]!, "c"), "utf8")).toBe("c");
  });

  test("the index of an image that has lost it is made again", async () => {
    const diffIds = await stack(stores.erofs, [await tar([file("a", "1")]), await tar([file("b", "2")])]);
    expect(Object.keys(stores.erofs.lowers(diffIds))).toEqual(["0"]);
    expect(readdirSync(stores.erofs.lowers(diffIds.slice(0, 1))[0]!)).toEqual(["a"]);
    expect(readdirSync(stores.erofs.lowers(diffIds)[0]!)).toEqual(["a", "b"]);
  });

  test("what stands on a directory is one", async () => {
    const first = await tar([file("a", "1")]);
    const [base] = await stack(stores.directories, [first]);
    await stores.directories.sync();
    const mixed = new Layers(join(dir, "directories"), "erofs");
    const path = join(dir, "second");
    writeFileSync(path, await tar([file("b", "2")]));
    const { diffId } = await mixed.apply({ source: { path }, parents: [base!] });
    expect(mixed.lowers([base!, diffId]).length).toBe(2);
    expect(mixed.form).toBe("erofs");
    await mixed.close();
  });

  test("a deleted layer lets go of its mount and its files", async () => {
    const [diffId] = await stack(stores.erofs, [await tar([file("a", "1")])]);
    const [lower] = stores.erofs.lowers([diffId!]);
    expect(stores.erofs.lowers([diffId!])).toEqual([lower!]);
    stores.erofs.delete(diffId!);
    expect(() => stores.erofs.lowers([diffId!])).toThrow("no such layer");
    await stores.erofs.sync();
    expect(readdirSync(join(dir, "erofs"))).toEqual([]);
  });
});
