import * as k from "../linux/constants.ts";
import { close, read, readlinkat, type Stat } from "../linux/file.ts";
import type { Change } from "../spec/docker-api.ts";
import { type Component, toText } from "./entry-path.ts";
import { isDirectory, isWhiteout, type MergedDirectory, type MergedFile, MergedTree } from "./merged.ts";
import type { IdRange } from "./owners.ts";

export const MODIFIED = 0;
export const ADDED = 1;
export const DELETED = 2;

/** Bytes up to which a file that looks unchanged is read and compared. */
const COMPARED = 1024 * 1024;

/** A change by path components, with what is there now (not for a deletion). */
export interface TreeChange {
  path: Component[];
  kind: Change["Kind"];
  stat?: Stat;
}

/** What the engine made in an upper directory, which is no change of the container's. */
export interface EngineMade {
  /** Mount points, by absolute path: files and directories that the image lacks. */
  added: readonly string[];
  /** What it hides of the image. */
  deleted: readonly string[];
}

/** A container's layers, for what it did to its image. */
export interface ChangedTree {
  upper: string;
  /** Top first. */
  lowers: readonly string[];
  /** The owners in `upper` are those of this user namespace. */
  ids?: IdRange | undefined;
  made?: EngineMade | undefined;
  /** Seconds since 1970: what is younger has this time in the layer, so that equal steps make equal layers. */
  latest?: number | undefined;
}

/**
 * What `docker diff` says: how the overlay of `upper` on `lowers` differs from `lowers` alone, sorted by path. The
 * directories above a change are modified; of a deleted directory only itself is named; a directory that was deleted and
 * made again lists what it has no more. A file that was only copied up is no change. `upper` may be in use.
 */
export function changes({ upper, lowers, ids, made }: ChangedTree): Change[] {
  const top = new MergedTree([upper], ids);
  try {
    const below = new MergedTree(lowers);
    try {
      return ownChanges(treeChanges(top, below), made).map(({ path, kind }) => ({ Path: textOf(path), Kind: kind }));
    } finally {
      below.close();
    }
  } finally {
    top.close();
  }
}

const textOf = (path: readonly Component[]) => `/${toText(path.join("/"))}`;

/** Without what the engine made, and without directories that changed, or are there, only for having it. */
export function ownChanges(all: TreeChange[], made: EngineMade | undefined): TreeChange[] {
  if (!made) return all;
  const [added, deleted] = [new Set(made.added), new Set(made.deleted)];
  const above = new Set<string>();
  const kept = all.map((change, i) => {
    const path = textOf(change.path);
    const next = all[i + 1];
    const empty = !next || !textOf(next.path).startsWith(`${path}/`);
    const ours = (change.kind === ADDED && empty && added.has(path)) || (change.kind === DELETED && deleted.has(path));
    if (ours)
      for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1))
        above.add(path.slice(0, end));
    return { change, path, ours };
  });
  if (above.size === 0) return kept.filter(({ ours }) => !ours).map(({ change }) => change);
  // From the end, so that what is below a directory comes before it.
  const own: TreeChange[] = [];
  let last = "";
  for (const { change, path, ours } of kept.reverse()) {
    if (ours) continue;
    if (change.kind !== DELETED && above.has(path) && !last.startsWith(`${path}/`)) continue;
    own.push(change);
    last = path;
  }
  return own.reverse();
}

/** Like {@link changes}, on open trees. A directory comes before what is in it. */
export function treeChanges(upper: MergedTree, lowers: MergedTree): TreeChange[] {
  const found: TreeChange[] = [];
  compare([], lowers.root.layers.length > 0 ? lowers.root : undefined, false);
  return found;

  /** Adds the changes in the upper's directory `path`. `hides`: nothing of `below` shows through. */
  function compare(path: Component[], below: MergedDirectory | undefined, hides: boolean): void {
    const names: { name: Component; stat?: Stat }[] = upper.listRaw(0, path);
    if (below && hides) {
      const known = new Set(names.map((file) => file.name));
      for (const { name } of lowers.list(below)) if (!known.has(name)) names.push({ name });
    }
    names.sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const { name, stat } of names) {
      const inside = [...path, name];
      const old = below && lowers.lookup(below, name);
      if (!stat || isWhiteout(stat)) {
        if (old) found.push({ path: inside, kind: DELETED });
        continue;
      }
      const kind = old ? MODIFIED : ADDED;
      const mark = found.length;
      found.push({ path: inside, kind, stat });
      if (isDirectory(stat)) compare(inside, old?.directory, hides || upper.opaque(0, inside));
      const touched = found.length > mark + 1 || !old || differs(inside, stat, old);
      if (!touched) found.length = mark;
    }
  }

  function differs(path: Component[], now: Stat, old: MergedFile): boolean {
    const { stat } = old;
    if (now.mode !== stat.mode || now.uid !== stat.uid || now.gid !== stat.gid) return true;
    if (now.mtime !== stat.mtime) return true;
    const format = now.mode & k.S_IFMT;
    if (format === k.S_IFCHR || format === k.S_IFBLK) {
      return now.rdevMajor !== stat.rdevMajor || now.rdevMinor !== stat.rdevMinor;
    }
    if (format !== k.S_IFDIR && now.size !== stat.size) return true;
    const text = format === k.S_IFLNK ? linkTarget : xattrText;
    if (text(upper, 0, path) !== text(lowers, old.layer, path)) return true;
    // Times can be set back; a large file is taken for changed, as it would not have been copied up for nothing.
    return (
      format === k.S_IFREG && (now.size > COMPARED || content(upper, 0, path) !== content(lowers, old.layer, path))
    );
  }
}

function linkTarget(tree: MergedTree, layer: number, path: Component[]): string {
  const fd = tree.tryOpen(layer, path, k.O_PATH);
  if (fd === undefined) return "";
  try {
    return readlinkat(fd, "").toString("latin1");
  } finally {
    close(fd);
  }
}

function xattrText(tree: MergedTree, layer: number, path: Component[]): string {
  const fd = tree.tryOpen(layer, path, k.O_PATH);
  if (fd === undefined) return "";
  try {
    return JSON.stringify([...tree.xattrs(layer, fd)].map(([name, value]) => [name, value.toString("latin1")]));
  } finally {
    close(fd);
  }
}

function content(tree: MergedTree, layer: number, path: Component[]): string {
  const fd = tree.tryOpen(layer, path, k.O_RDONLY | k.O_NONBLOCK);
  if (fd === undefined) return "";
  try {
    const data = Buffer.alloc(COMPARED + 1);
    let length = 0;
    for (let n = 1; n > 0 && length <= COMPARED; length += n) n = read(fd, data.subarray(length));
    return data.toString("latin1", 0, length);
  } finally {
    close(fd);
  }
}
