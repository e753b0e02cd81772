import { InroError } from "../../base/errors.ts";
import type { Component } from "../entry-path.ts";
import { type Directory, type Leaf, type Node, plainDirectory, type Xattrs } from "./tree.ts";

/**
 * A layer's tree as a file, read when an image's index is made of the trees of its layers: lines of JSON. A directory's
 * line is followed by those of what is in it, and `0`; the first line is the root's.
 *
 *     [kind, name, mode, uid, gid, seconds, nanoseconds, xattrs, …]   "d": opaque, implied; "f": size, offset;
 *                                                                     "l": target; "c", "b": major, minor; "p"
 *     ["h", name, n]   another name of the n-th line that is of a leaf
 *     ["w", name]      a whiteout
 */
type Line = 0 | [kind: string, name: string, ...rest: unknown[]];

const BILLION = 1_000_000_000n;
const LETTER = { file: "f", symlink: "l", char: "c", block: "b", fifo: "p" } as const;

export function encodeTree(root: Directory): string {
  const lines: string[] = [];
  const numbers = new Map<Leaf, number>();
  const put = (line: Line) => lines.push(JSON.stringify(line));
  const walk = (name: Component, node: Node): void => {
    if (node.kind === "whiteout") return void put(["w", name]);
    const known = node.kind === "directory" ? undefined : numbers.get(node);
    if (known !== undefined) return void put(["h", name, known]);
    const seconds = node.mtime / BILLION - (node.mtime % BILLION < 0n ? 1n : 0n);
    const xattrs = node.xattrs.length > 0 ? node.xattrs : 0;
    const common = [node.mode, node.uid, node.gid, Number(seconds), Number(node.mtime - seconds * BILLION), xattrs];
    if (node.kind === "directory") {
      put(["d", name, ...common, node.opaque ? 1 : 0, node.implied ? 1 : 0]);
      for (const [child, each] of node.children) walk(child, each);
      put(0);
      return;
    }
    numbers.set(node, numbers.size);
    const own =
      node.kind === "file"
        ? [node.size, node.at]
        : node.kind === "symlink"
          ? [node.target]
          : node.kind === "fifo"
            ? []
            : [node.major, node.minor];
    put([LETTER[node.kind], name, ...common, ...own]);
  };
  walk("", root);
  return `${lines.join("\n")}\n`;
}

/** A text that is none is an internal error: nobody else writes them. */
export function decodeTree(text: string): Directory {
  const leaves: Leaf[] = [];
  const open: Directory[] = [];
  let root: Directory | undefined;
  let start = 0;
  for (let end = text.indexOf("\n"); end >= 0; start = end + 1, end = text.indexOf("\n", start)) {
    const line = JSON.parse(text.slice(start, end)) as Line;
    if (line === 0) {
      open.pop();
      continue;
    }
    const node = nodeOf(line, leaves);
    const parent = open.at(-1);
    if (parent) parent.children.set(line[1], node);
    else if (node.kind === "directory" && !root) root = node;
    else break;
    if (node.kind === "directory") open.push(node);
  }
  if (!root || open.length > 0 || start !== text.length) throw new InroError("internal", "a layer's tree is corrupt");
  return root;
}

function nodeOf([kind, , ...rest]: Exclude<Line, 0>, leaves: Leaf[]): Node {
  if (kind === "w") return { kind: "whiteout" };
  if (kind === "h") return leaves[rest[0] as number]!;
  const [mode, uid, gid, seconds, nanoseconds, xattrs, one, two] = rest as number[];
  const common = {
    mode: mode!,
    uid: uid!,
    gid: gid!,
    mtime: BigInt(seconds!) * BILLION + BigInt(nanoseconds!),
    xattrs: (xattrs === 0 ? [] : xattrs) as Xattrs,
  };
  if (kind === "d") return { ...plainDirectory(), ...common, opaque: one === 1, implied: two === 1 };
  const leaf: Leaf =
    kind === "f"
      ? { kind: "file", ...common, size: one!, at: two!, device: 0 }
      : kind === "l"
        ? { kind: "symlink", ...common, target: one as unknown as string }
        : kind === "p"
          ? { kind: "fifo", ...common }
          : { kind: kind === "c" ? "char" : "block", ...common, major: one!, minor: two! };
  leaves.push(leaf);
  return leaf;
}
