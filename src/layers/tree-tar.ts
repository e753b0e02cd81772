import { read as readFile } from "node:fs";
import { promisify } from "node:util";
import * as k from "../linux/constants.ts";
import { close, openHeld, read, readlinkat } from "../linux/file.ts";
import { type ChangedTree, DELETED, type EngineMade, ownChanges, treeChanges } from "./changes.ts";
import { type Component, toName } from "./entry-path.ts";
import { isDirectory, type MergedDirectory, MergedTree } from "./merged.ts";
import { type TarHeader, tarTypeOf, wholeSeconds } from "./tar-header.ts";
import { type TarMember, writeTar } from "./tar-write.ts";

const CHUNK = 1024 * 1024;
const SMALL = 64 * 1024;
const readAsync = promisify(readFile);

/**
 * A container's changes as a layer tar (image-spec layer.md): deletions as `.wh.` entries before their siblings, no
 * opaque markers. Owner, mode, xattrs, hard links and times in whole seconds are kept, as Docker does. Equal trees give
 * equal bytes. A file that changes while it is read keeps its first size.
 */
export async function* layerTar({
  upper,
  lowers,
  ids,
  made,
  latest,
}: ChangedTree): AsyncGenerator<Uint8Array, void, undefined> {
  const top = new MergedTree([upper], ids);
  const below = new MergedTree(lowers);
  try {
    yield* writeTar(clamped(changedMembers(top, below, made), latest));
  } finally {
    below.close();
    top.close();
  }
}

/** The whole tree that the layers show together as a tar, as `docker export` gives it. */
export async function* rootfsTar({
  upper,
  lowers,
  ids,
}: Omit<ChangedTree, "upper" | "made"> & { upper?: string }): AsyncGenerator<Uint8Array, void, undefined> {
  const tree = upper === undefined ? new MergedTree(lowers) : new MergedTree([upper, ...lowers], ids);
  try {
    yield* writeTar(allMembers(tree, tree.root, new Map()));
  } finally {
    tree.close();
  }
}

async function* changedMembers(
  top: MergedTree,
  below: MergedTree,
  made: EngineMade | undefined,
): AsyncGenerator<TarMember> {
  const links = new Map<string, string>();
  const all = ownChanges(treeChanges(top, below), made);
  const deleted = Map.groupBy(
    all.filter(({ kind }) => kind === DELETED),
    ({ path }) => path.slice(0, -1).join("/"),
  );
  const whiteouts = function* (path: Component[]): Generator<TarMember> {
    for (const { path: gone } of deleted.get(path.join("/")) ?? []) {
      yield { header: whiteout([...path, `.wh.${gone.at(-1)}`]) };
    }
  };
  yield* whiteouts([]);
  for (const { path, kind, stat } of all) {
    if (kind === DELETED || !stat) continue;
    yield* member(top, 0, path, links);
    if (isDirectory(stat)) yield* whiteouts(path);
  }
}

async function* clamped(members: AsyncGenerator<TarMember>, latest: number | undefined): AsyncGenerator<TarMember> {
  if (latest === undefined) {
    yield* members;
    return;
  }
  const end = BigInt(latest) * 1_000_000_000n;
  for await (const member of members) {
    if (member.header.mtime > end) member.header.mtime = end;
    yield member;
  }
}

async function* allMembers(
  tree: MergedTree,
  directory: MergedDirectory,
  links: Map<string, string>,
): AsyncGenerator<TarMember> {
  for (const { name, layer, directory: inside } of tree.list(directory)) {
    yield* member(tree, layer, [...directory.path, name], links);
    if (inside) yield* allMembers(tree, inside, links);
  }
}

/** The member for one file; none for a socket, which tar cannot hold, or for what has vanished. */
async function* member(
  tree: MergedTree,
  layer: number,
  path: Component[],
  links: Map<string, string>,
): AsyncGenerator<TarMember> {
  const handle = tree.tryOpen(layer, path, k.O_PATH);
  if (handle === undefined) return;
  let fd: number | undefined;
  try {
    const stat = tree.stat(layer, handle);
    const type = tarTypeOf(stat.mode);
    if (type === undefined) return;
    const name = path.join("/");
    const header: TarHeader = {
      name: toName(type === "directory" ? `${name}/` : name),
      type,
      mode: stat.mode & 0o7777,
      uid: stat.uid,
      gid: stat.gid,
      size: 0,
      mtime: wholeSeconds(stat.mtime),
    };
    if (type === "symlink") header.linkname = readlinkat(handle, "");
    else header.xattrs = tree.xattrs(layer, handle);
    if (type === "char" || type === "block") {
      header.devMajor = stat.rdevMajor;
      header.devMinor = stat.rdevMinor;
    }
    if (type !== "directory" && stat.nlink > 1) {
      const inode = `${layer}:${stat.devMajor}:${stat.devMinor}:${stat.ino}`;
      const first = links.get(inode);
      if (first !== undefined) {
        yield { header: { ...header, type: "hardlink", linkname: toName(first) } };
        return;
      }
      links.set(inode, name);
    }
    if (type !== "file") {
      yield { header };
      return;
    }
    // By the descriptor of what was looked at: under its name there could be a device by now.
    fd = openHeld(handle);
    yield { header: { ...header, size: stat.size }, body: contents(fd, stat.size) };
  } finally {
    close(handle);
    if (fd !== undefined) close(fd);
  }
}

/** Exactly `size` bytes: what was appended since is left out, what was cut off is zeros. */
async function* contents(fd: number, size: number): AsyncGenerator<Uint8Array> {
  for (let left = size; left > 0; ) {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK, left));
    // Small files are read at once: a trip to the thread pool costs more than they do.
    const n = size <= SMALL ? read(fd, buffer) : (await readAsync(fd, buffer, 0, buffer.length, null)).bytesRead;
    const chunk = n === 0 ? buffer.fill(0) : buffer.subarray(0, n);
    left -= chunk.length;
    yield chunk;
  }
}

function whiteout(path: Component[]): TarHeader {
  return { name: toName(path.join("/")), type: "file", mode: 0o600, uid: 0, gid: 0, size: 0, mtime: 0n };
}
