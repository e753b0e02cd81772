import { invalid } from "../../base/errors.ts";
import * as k from "../../linux/constants.ts";
import { makedev } from "../../linux/file.ts";
import type { Component } from "../entry-path.ts";
import * as f from "./format.ts";
import type { Directory, Leaf, Xattrs } from "./tree.ts";

type Inode = Directory | Leaf;

interface Place {
  inode: Inode;
  number: number;
  /** Where its inode is, bytes. */
  at: number;
  links: number;
  xattrs: Buffer | undefined;
  /** Directories and symlinks: full blocks, and the rest, which lies behind the inode where it fits. */
  blocks: number;
  tail: number;
  inline: boolean;
  firstBlock: number;
  /** Directories: itself and its parent are `.` and `..`. */
  entries?: Packed[];
  parent?: Place;
}

/** The names in one block of a directory. */
interface Packed {
  names: Component[];
  used: number;
}

const PAGE = 4096;
const MAX_BLOCK = 0xffff_ffff;

/**
 * An EROFS image of a merged tree: inodes, directories and symlinks, while contents of files are in the devices, the tars
 * of the layers, `tarSizes` bytes long. `uuid` has 16 bytes. The same tree gives the same bytes.
 */
export function encodeImage(root: Directory, tarSizes: readonly number[], uuid: Uint8Array): Buffer {
  const layout = new Layout(root, tarSizes.length);
  for (const size of tarSizes) {
    if (size / f.BLOCK_SIZE > MAX_BLOCK) throw invalid(`a layer of ${size} bytes is too large for its index`);
  }
  // Tools read in steps of a page.
  const image = Buffer.alloc(align(layout.size, PAGE));
  writeSuper(image, layout, tarSizes, uuid);
  for (const place of layout.places.values()) writeInode(image, place, layout);
  return image;
}

/** Where everything is: known before anything is written, since directories name the inodes in them by place. */
class Layout {
  readonly places = new Map<Inode, Place>();
  readonly root: Place;
  readonly size: number;
  #at: number;

  constructor(root: Directory, devices: number) {
    this.#at = f.SUPER_OFFSET + f.SUPER_SIZE + devices * f.DEVICE_SLOT;
    this.root = this.#place(root);
    this.root.parent = this.root;
    this.#children(this.root);
    let block = Math.ceil(this.#at / f.BLOCK_SIZE);
    for (const place of this.places.values()) {
      place.firstBlock = block;
      block += place.blocks + (place.tail > 0 && !place.inline ? 1 : 0);
    }
    if (block > MAX_BLOCK) throw invalid("an image with so many files is too large for its index");
    this.size = block * f.BLOCK_SIZE;
  }

  #children(directory: Place): void {
    for (const child of (directory.inode as Directory).children.values()) {
      if (child.kind === "whiteout") continue;
      const known = this.places.get(child);
      if (known) {
        known.links++;
        continue;
      }
      const place = this.#place(child);
      if (child.kind !== "directory") continue;
      directory.links++;
      place.parent = directory;
      this.#children(place);
    }
  }

  #place(inode: Inode): Place {
    const xattrs = encodeXattrs(inode.xattrs);
    const head = f.INODE_SIZE + (xattrs?.length ?? 0);
    const entries = inode.kind === "directory" ? packNames(inode) : undefined;
    const length = entries ? directorySize(entries) : inode.kind === "symlink" ? inode.target.length : 0;
    const tail = length % f.BLOCK_SIZE;
    let at = align(this.#at, f.INODE_SLOT);
    // What lies behind an inode must not cross a block's end.
    const crosses = () => ((at + head) % f.BLOCK_SIZE) + tail > f.BLOCK_SIZE;
    for (let tries = 0; tries < f.BLOCK_SIZE / f.INODE_SLOT && crosses(); tries++) at += f.INODE_SLOT;
    const inline = tail > 0 && !crosses();
    if (!inline) at = align(this.#at, f.INODE_SLOT);
    const place: Place = {
      inode,
      number: this.places.size + 1,
      at,
      links: inode.kind === "directory" ? 2 : 1,
      xattrs,
      blocks: Math.floor(length / f.BLOCK_SIZE),
      tail,
      inline,
      firstBlock: 0,
      ...(entries && { entries }),
    };
    this.#at = at + head + (inline ? tail : 0);
    if (inode.kind === "file") this.#at = align(this.#at, f.CHUNK_INDEX) + chunksOf(inode.size) * f.CHUNK_INDEX;
    this.places.set(inode, place);
    return place;
  }
}

function writeSuper(image: Buffer, layout: Layout, tarSizes: readonly number[], uuid: Uint8Array): void {
  const at = f.SUPER_OFFSET;
  image.writeUInt32LE(f.MAGIC, at);
  image.writeUInt8(f.BLOCK_BITS, at + 12);
  image.writeUInt16LE(layout.root.at / f.INODE_SLOT, at + 14);
  image.writeBigUInt64LE(BigInt(layout.places.size), at + 16);
  image.writeUInt32LE(image.length / f.BLOCK_SIZE, at + 36);
  image.set(uuid.subarray(0, 16), at + 48);
  image.writeUInt32LE(f.INCOMPAT_CHUNKED_FILE | f.INCOMPAT_DEVICE_TABLE, at + 80);
  image.writeUInt16LE(tarSizes.length, at + 86);
  image.writeUInt16LE((at + f.SUPER_SIZE) / f.DEVICE_SLOT, at + 88);
  for (const [i, size] of tarSizes.entries()) {
    image.writeUInt32LE(Math.ceil(size / f.BLOCK_SIZE), at + f.SUPER_SIZE + i * f.DEVICE_SLOT + 64);
  }
}

const FORMAT = {
  file: k.S_IFREG,
  directory: k.S_IFDIR,
  symlink: k.S_IFLNK,
  char: k.S_IFCHR,
  block: k.S_IFBLK,
  fifo: k.S_IFIFO,
} as const;

const BILLION = 1_000_000_000n;

function writeInode(image: Buffer, place: Place, layout: Layout): void {
  const { inode, at, xattrs } = place;
  const chunked = inode.kind === "file" && inode.size > 0;
  const length = inode.kind === "file" ? inode.size : place.blocks * f.BLOCK_SIZE + place.tail;
  const data = chunked ? f.LAYOUT_CHUNKS : place.inline ? f.LAYOUT_INLINE : f.LAYOUT_PLAIN;
  image.writeUInt16LE(f.EXTENDED | data, at);
  if (xattrs) image.writeUInt16LE((xattrs.length - f.XATTR_HEADER) / 4 + 1, at + 2);
  image.writeUInt16LE(FORMAT[inode.kind] | inode.mode, at + 4);
  image.writeUInt32LE(length % 2 ** 32, at + 8);
  image.writeUInt32LE(Math.floor(length / 2 ** 32), at + 12);
  image.writeUInt32LE(dataOf(place), at + 16);
  image.writeUInt32LE(place.number, at + 20);
  image.writeUInt32LE(inode.uid, at + 24);
  image.writeUInt32LE(inode.gid, at + 28);
  const seconds = inode.mtime / BILLION - (inode.mtime % BILLION < 0n ? 1n : 0n);
  image.writeBigInt64LE(BigInt.asIntN(64, seconds), at + 32);
  image.writeUInt32LE(Number(inode.mtime - seconds * BILLION), at + 40);
  image.writeUInt32LE(place.links, at + 44);
  if (xattrs) xattrs.copy(image, at + f.INODE_SIZE);
  const behind = at + f.INODE_SIZE + (xattrs?.length ?? 0);
  if (inode.kind === "file") writeChunks(image, align(behind, f.CHUNK_INDEX), inode);
  const piece = (i: number) => (i < place.blocks || !place.inline ? (place.firstBlock + i) * f.BLOCK_SIZE : behind);
  if (inode.kind === "symlink") {
    const target = Buffer.from(inode.target, "latin1");
    for (let i = 0; i * f.BLOCK_SIZE < target.length; i++)
      target.copy(image, piece(i), i * f.BLOCK_SIZE, (i + 1) * f.BLOCK_SIZE);
  }
  for (const [i, block] of (place.entries ?? []).entries()) writeDirents(image, piece(i), block, place, layout);
}

/** The inode's i_u. */
function dataOf({ inode, firstBlock }: Place): number {
  if (inode.kind === "file") return inode.size > 0 ? f.CHUNK_INDEXES | f.CHUNK_BITS : 0;
  if (inode.kind === "char" || inode.kind === "block") return makedev(inode.major, inode.minor);
  return inode.kind === "fifo" ? 0 : firstBlock;
}

const chunksOf = (size: number) => Math.ceil(size / f.CHUNK_SIZE);

function writeChunks(image: Buffer, at: number, { size, at: offset, device }: Leaf & { kind: "file" }): void {
  for (let i = 0; i < chunksOf(size); i++) {
    image.writeUInt16LE(device + 1, at + i * f.CHUNK_INDEX + 2);
    image.writeUInt32LE((offset + i * f.CHUNK_SIZE) / f.BLOCK_SIZE, at + i * f.CHUNK_INDEX + 4);
  }
}

/** Names sorted by bytes, `.` and `..` among them, as many as fit into each block. */
function packNames({ children }: Directory): Packed[] {
  const names = [".", ".."];
  for (const [name, node] of children) if (node.kind !== "whiteout") names.push(name);
  names.sort(byBytes);
  const blocks: Packed[] = [];
  let last: Packed | undefined;
  for (const name of names) {
    const size = f.DIRENT + name.length;
    if (!last || last.used + size > f.BLOCK_SIZE) {
      last = { names: [], used: 0 };
      blocks.push(last);
    }
    last.names.push(name);
    last.used += size;
  }
  return blocks;
}

const byBytes = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

const directorySize = (blocks: Packed[]) => (blocks.length - 1) * f.BLOCK_SIZE + blocks.at(-1)!.used;

function writeDirents(image: Buffer, at: number, { names }: Packed, place: Place, { places }: Layout): void {
  const { children } = place.inode as Directory;
  let nameAt = names.length * f.DIRENT;
  for (const [i, name] of names.entries()) {
    const target = name === "." ? place : name === ".." ? place.parent! : places.get(children.get(name) as Inode)!;
    const dirent = at + i * f.DIRENT;
    // Below 2^53: an image has at most 2^32 blocks.
    const nid = target.at / f.INODE_SLOT;
    image.writeUInt32LE(nid % 2 ** 32, dirent);
    image.writeUInt32LE(Math.floor(nid / 2 ** 32), dirent + 4);
    image.writeUInt16LE(nameAt, dirent + 8);
    image.writeUInt8(f.FILE_TYPE[target.inode.kind], dirent + 10);
    image.write(name, at + nameAt, "latin1");
    nameAt += name.length;
  }
}

function encodeXattrs(xattrs: Xattrs): Buffer | undefined {
  if (xattrs.length === 0) return undefined;
  const parts: Buffer[] = [Buffer.alloc(f.XATTR_HEADER)];
  for (const [name, value] of xattrs) {
    const [prefix, index] = f.XATTR_PREFIXES.find(([prefix]) => name.startsWith(prefix))!;
    const rest = name.length - prefix.length;
    const entry = Buffer.alloc(align(f.XATTR_ENTRY + rest + value.length, 4));
    entry.writeUInt8(rest, 0);
    entry.writeUInt8(index, 1);
    entry.writeUInt16LE(value.length, 2);
    entry.write(name.slice(prefix.length), f.XATTR_ENTRY, "latin1");
    entry.write(value, f.XATTR_ENTRY + rest, "latin1");
    parts.push(entry);
  }
  return Buffer.concat(parts);
}

const align = (at: number, to: number) => Math.ceil(at / to) * to;
