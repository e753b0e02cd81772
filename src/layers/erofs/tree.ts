import type { Component } from "../entry-path.ts";

/**
 * The files of a layer, or of an image, as its index has them: names and attributes here, contents in the layer's tar.
 * Names, targets and values of xattrs are "binary" strings, one character a byte.
 */
export type Node = Directory | Leaf | Whiteout;

/** What all but whiteouts have. */
interface Attributed {
  /** Permission bits: 0..07777. */
  mode: number;
  uid: number;
  gid: number;
  /** Nanoseconds since the epoch. */
  mtime: bigint;
  xattrs: Xattrs;
}

export type Xattrs = readonly (readonly [name: string, value: string])[];

export interface Directory extends Attributed {
  kind: "directory";
  children: Map<Component, Node>;
  /** It hides what is below it in other layers. */
  opaque: boolean;
  /** The layer does not say what it is like: then it is as in the layers below, or plain. */
  implied: boolean;
}

/** One object under several names is a file with several links. */
export type Leaf = Attributed &
  (
    | {
        kind: "file";
        size: number;
        /** Where its content begins in the tar, bytes; a multiple of 512. */
        at: number;
        /** Which tar: 0 is that of the layer the tree was read of, or the base's. */
        device: number;
      }
    | { kind: "symlink"; target: string }
    | { kind: "char" | "block"; major: number; minor: number }
    | { kind: "fifo" }
  );

/** The name is gone. Not in an image's tree. */
export interface Whiteout {
  kind: "whiteout";
}

export const plainDirectory = (): Directory => ({
  kind: "directory",
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtime: 0n,
  xattrs: [],
  children: new Map(),
  opaque: false,
  implied: true,
});

/**
 * What an overlay of the layers shows (overlayfs.rst), base first: one tree, without whiteouts. Takes the trees apart.
 * `device` of a file becomes the position of its layer.
 */
export function mergeTrees(layers: readonly Directory[]): Directory {
  let merged: Directory | undefined;
  for (const [device, layer] of layers.entries()) {
    eachLeaf(layer, (leaf) => {
      if (leaf.kind === "file") leaf.device = device;
    });
    merged = mergeDirectory(merged, layer);
  }
  return merged ?? plainDirectory();
}

function mergeDirectory(lower: Directory | undefined, upper: Directory): Directory {
  const below = upper.opaque ? undefined : lower;
  const children = below?.children ?? new Map<Component, Node>();
  for (const [name, node] of upper.children) {
    if (node.kind === "whiteout") children.delete(name);
    else if (node.kind !== "directory") children.set(name, node);
    else {
      const other = children.get(name);
      children.set(name, mergeDirectory(other?.kind === "directory" ? other : undefined, node));
    }
  }
  const { mode, uid, gid, mtime, xattrs } = upper.implied && below ? below : upper;
  return { kind: "directory", mode, uid, gid, mtime, xattrs, children, opaque: false, implied: false };
}

function eachLeaf(directory: Directory, visit: (leaf: Leaf) => void): void {
  for (const node of directory.children.values()) {
    if (node.kind === "directory") eachLeaf(node, visit);
    else if (node.kind !== "whiteout") visit(node);
  }
}
