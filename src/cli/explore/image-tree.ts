import type { ImageFile, ImageFilesLine } from "../../spec/image-files.ts";

export type Change = "added" | "changed" | "removed" | "same";

/** A name in an image as one layer leaves it. */
export interface Node {
  name: string;
  /** Absent for a directory that no archive mentions. */
  file: ImageFile | undefined;
  children: Map<string, Node>;
  change: Change;
  /** Bytes of all files below, of a directory; else its own. */
  total: number;
}

export interface ExploredLayer {
  diffId: string;
  /** Bytes of the files that it brings. */
  size: number;
  added: number;
  changed: number;
  removed: number;
}

export interface WastedPath {
  path: string;
  /** Bytes in layers that the image does not show. */
  bytes: number;
  /** Layers that have it. */
  times: number;
}

export interface Explored {
  layers: ExploredLayer[];
  /** Bytes of files in all layers together, and those that are hidden by a later layer. */
  size: number;
  wasted: number;
  /** Part of `size` that the image shows. */
  efficiency: number;
  /** Largest first. */
  wastedPaths: WastedPath[];
  /** Lines of each layer, for {@link treeOf}. */
  lines: ImageFilesLine[][];
}

export const newNode = (name: string): Node => ({
  name,
  file: undefined,
  children: new Map(),
  change: "same",
  total: 0,
});

const isFile = (line: ImageFilesLine): line is ImageFile => "mode" in line;

/** Reads what the engine lists, and counts what is hidden. */
export async function explore(source: AsyncIterable<ImageFilesLine>): Promise<Explored> {
  const lines: ImageFilesLine[][] = [];
  for await (const line of source) {
    if ("layer" in line) lines.push([line]);
    else lines.at(-1)?.push(line);
  }
  const root = newNode("");
  const hidden = new Map<string, WastedPath>();
  const times = new Map<string, number>();
  const hide = (node: Node, path: string) => {
    if (node.file?.type === "file" && node.file.size > 0) {
      const known = hidden.get(path) ?? { path, bytes: 0, times: 0 };
      known.bytes += node.file.size;
      hidden.set(path, known);
    }
    for (const child of node.children.values()) hide(child, path === "" ? child.name : `${path}/${child.name}`);
  };
  const layers = lines.map((of) => {
    const head = of[0] as { diffId: string };
    const layer: ExploredLayer = { diffId: head.diffId, size: 0, added: 0, changed: 0, removed: 0 };
    for (const line of of) {
      if (!isFile(line)) continue;
      layer.size += line.size;
      if (line.type === "file") times.set(line.path, (times.get(line.path) ?? 0) + 1);
    }
    const counts = applyLayer(root, of, hide);
    return Object.assign(layer, counts);
  });
  const size = layers.reduce((sum, layer) => sum + layer.size, 0);
  const wastedPaths = [...hidden.values()]
    .map((one) => ({ ...one, times: times.get(one.path) ?? 0 }))
    .toSorted((a, b) => b.bytes - a.bytes || (a.path < b.path ? -1 : 1));
  const wasted = wastedPaths.reduce((sum, { bytes }) => sum + bytes, 0);
  return { layers, size, wasted, efficiency: size === 0 ? 1 : 1 - wasted / size, wastedPaths, lines };
}

/** The files after layer `index`: marked is what that layer did, or with `all` what every layer above the base did. */
export function treeOf(lines: readonly ImageFilesLine[][], index: number): Node {
  const root = newNode("");
  for (const [at, of] of lines.slice(0, index + 1).entries()) {
    if (at === index) settle(root);
    applyLayer(root, of, () => {}, at === index);
  }
  count(root);
  return root;
}

/** The files that an image shows, by path; directories too. */
export function finalFiles(lines: readonly ImageFilesLine[][]): Map<string, ImageFile> {
  const root = newNode("");
  for (const of of lines) applyLayer(root, of, () => {});
  const files = new Map<string, ImageFile>();
  const walk = (node: Node, path: string) => {
    if (node.file) files.set(path, node.file);
    for (const child of node.children.values()) walk(child, path === "" ? child.name : `${path}/${child.name}`);
  };
  walk(root, "");
  return files;
}

/**
 * Puts a layer over what is there (image-spec layer.md). `hide` hears of what is no longer seen, as it was. With `keep`
 * what is removed stays in the tree, marked.
 */
function applyLayer(
  root: Node,
  lines: readonly ImageFilesLine[],
  hide: (node: Node, path: string) => void,
  keep = false,
): { added: number; changed: number; removed: number } {
  const counts = { added: 0, changed: 0, removed: 0 };
  const own = new Set<Node>();
  const remove = (parent: Node, node: Node, path: string) => {
    counts.removed++;
    hide(node, path);
    if (keep) mark(node, "removed");
    else parent.children.delete(node.name);
  };
  // Whiteouts are about layers below, wherever in the archive they stand.
  for (const line of lines) {
    if (line === undefined || "layer" in line || isFile(line)) continue;
    const node = find(root, line.path);
    if (!node) continue;
    if (line.type === "whiteout") {
      const parent = find(root, parentOf(line.path));
      if (parent) remove(parent, node, line.path);
    } else {
      for (const child of [...node.children.values()]) {
        remove(node, child, line.path === "" ? child.name : `${line.path}/${child.name}`);
      }
    }
  }
  for (const line of lines) {
    if ("layer" in line || !isFile(line)) continue;
    const node = make(root, line.path);
    const file = line.type === "hardlink" ? linked(root, line) : line;
    const before = node.file !== undefined && node.change !== "removed";
    if (before && !own.has(node)) {
      counts.changed++;
      const bothDirectories = node.file!.type === "directory" && file.type === "directory";
      if (!bothDirectories) {
        hide(node, line.path);
        node.children.clear();
      }
      node.change = "changed";
    } else if (!before) {
      counts.added++;
      if (node.change === "removed") node.children.clear();
      node.change = "added";
    }
    node.file = file;
    own.add(node);
  }
  return counts;
}

/** A hard link is the file it leads to; its bytes are counted where they lie. */
function linked(root: Node, line: ImageFile): ImageFile {
  const target = find(root, line.link ?? "")?.file;
  return target ? { ...target, path: line.path, size: target.type === "file" ? 0 : target.size } : line;
}

const parentOf = (path: string) => (path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "");
const parts = (path: string) => (path === "" ? [] : path.split("/"));

function find(root: Node, path: string): Node | undefined {
  let node: Node | undefined = root;
  for (const part of parts(path)) node = node?.children.get(part);
  return node;
}

function make(root: Node, path: string): Node {
  let node = root;
  for (const part of parts(path)) {
    let child = node.children.get(part);
    if (!child) {
      child = newNode(part);
      node.children.set(part, child);
    }
    node = child;
  }
  return node;
}

function mark(node: Node, change: Change): void {
  node.change = change;
  for (const child of node.children.values()) mark(child, change);
}

/** Takes away the marks, and what was marked as removed. */
function settle(node: Node): void {
  for (const child of node.children.values()) settle(child);
  node.change = "same";
}

function count(node: Node): number {
  node.total = node.file?.type === "file" ? node.file.size : 0;
  for (const child of node.children.values()) {
    node.total += count(child);
    if (node.change === "same" && child.change !== "same") node.change = "changed";
  }
  return node.total;
}
