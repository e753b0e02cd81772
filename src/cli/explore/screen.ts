import { humanSize } from "../human.ts";
import { type Explored, type Node, treeOf } from "./image-tree.ts";

const MARKS = { added: "+", changed: "~", removed: "-", same: " " } as const;
const COLOURS = { added: "\x1b[32m", changed: "\x1b[33m", removed: "\x1b[31m", same: "" } as const;

interface Row {
  node: Node;
  depth: number;
}

/**
 * What the explorer shows on a terminal, and what keys do to it; printing and reading are the caller's. Names come from
 * an image: what is no printable character shows as one.
 */
export class Screen {
  #pane: "layers" | "files" = "layers";
  #layer = 0;
  #file = 0;
  #top = 0;
  #changesOnly = false;
  readonly #closed = new Set<string>();
  #tree: Node;
  #rows: (Row & { path: string })[] = [];

  constructor(
    readonly name: string,
    readonly explored: Explored,
    /** What made each layer, base first; "" where nobody says. */
    readonly commands: readonly string[],
  ) {
    this.#tree = treeOf(explored.lines, 0);
    this.#list();
  }

  /** False: the user wants to leave. */
  key(text: string): boolean {
    const layers = this.explored.layers.length;
    switch (text) {
      case "q":
      case "\x03":
      case "\x1b":
        return false;
      case "\t":
        this.#pane = this.#pane === "layers" ? "files" : "layers";
        break;
      case "\x1b[A":
      case "k":
        this.#move(-1, layers);
        break;
      case "\x1b[B":
      case "j":
        this.#move(1, layers);
        break;
      case "\x1b[5~":
        this.#move(-20, layers);
        break;
      case "\x1b[6~":
        this.#move(20, layers);
        break;
      case "\x1b[C":
        this.#pane = "files";
        break;
      case "\x1b[D":
        this.#pane = "layers";
        break;
      case " ":
      case "\r":
        this.#toggle();
        break;
      case "c":
        this.#changesOnly = !this.#changesOnly;
        this.#list();
        break;
    }
    return true;
  }

  /** The whole screen, of this size. */
  render({ h, w }: { h: number; w: number }): string {
    const left = Math.min(44, Math.floor(w * 0.4));
    const right = w - left - 1;
    const { efficiency, wasted, size } = this.explored;
    const body = Math.max(1, h - 3);
    const layers = this.#layerLines(left, body);
    const files = this.#fileLines(right, body);
    const lines = [
      `\x1b[7m${fit(` ${this.name}  ${humanSize(size)}, ${(efficiency * 100).toFixed(1)} % efficient, ${humanSize(wasted)} wasted`, w)}\x1b[0m`,
    ];
    for (let i = 0; i < body; i++) lines.push(`${layers[i] ?? " ".repeat(left)}│${files[i] ?? ""}`);
    const command = printable(this.commands[this.#layer] ?? "");
    lines.push(fit(` ${command}`, w), fit(" ↑↓ move  tab pane  space fold  c changes only  q quit", w));
    return `\x1b[H${lines.map((line) => `${line}\x1b[K`).join("\r\n")}`;
  }

  #layerLines(width: number, height: number): string[] {
    const from = Math.max(0, this.#layer - height + 1);
    return this.explored.layers.slice(from, from + height).map((layer, i) => {
      const at = from + i;
      const text = `${at === this.#layer ? ">" : " "}${String(at + 1).padStart(3)} ${humanSize(layer.size).padStart(8)} +${layer.added} ~${layer.changed} -${layer.removed}`;
      const active = at === this.#layer && this.#pane === "layers";
      return active ? `\x1b[7m${fit(text, width)}\x1b[0m` : fit(text, width);
    });
  }

  #fileLines(width: number, height: number): string[] {
    if (this.#file < this.#top) this.#top = this.#file;
    if (this.#file >= this.#top + height) this.#top = this.#file - height + 1;
    return this.#rows.slice(this.#top, this.#top + height).map((row, i) => {
      const { node, depth, path } = row;
      const fold = node.children.size === 0 ? " " : this.#closed.has(path) ? "▸" : "▾";
      const link = node.file?.link === undefined || node.file.type !== "symlink" ? "" : ` → ${node.file.link}`;
      const mode = (node.file?.mode ?? 0o755).toString(8).padStart(4, "0");
      const owner = `${node.file?.uid ?? 0}:${node.file?.gid ?? 0}`.padEnd(9);
      const text = `${MARKS[node.change]} ${mode} ${owner} ${humanSize(node.total).padStart(8)} ${"  ".repeat(depth)}${fold} ${printable(node.name + link)}`;
      const active = this.#top + i === this.#file && this.#pane === "files";
      return `${active ? "\x1b[7m" : COLOURS[node.change]}${fit(text, width)}\x1b[0m`;
    });
  }

  #move(by: number, layers: number): void {
    if (this.#pane === "files") {
      this.#file = clamp(this.#file + by, this.#rows.length);
      return;
    }
    const next = clamp(this.#layer + by, layers);
    if (next === this.#layer) return;
    this.#layer = next;
    this.#tree = treeOf(this.explored.lines, next);
    this.#list();
  }

  #toggle(): void {
    const row = this.#rows[this.#file];
    if (this.#pane !== "files" || !row || row.node.children.size === 0) return;
    if (!this.#closed.delete(row.path)) this.#closed.add(row.path);
    this.#list();
  }

  #list(): void {
    this.#rows = [];
    const walk = (node: Node, depth: number, above: string) => {
      for (const child of [...node.children.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
        if (this.#changesOnly && child.change === "same") continue;
        const path = `${above}/${child.name}`;
        this.#rows.push({ node: child, depth, path });
        if (!this.#closed.has(path)) walk(child, depth + 1, path);
      }
    };
    walk(this.#tree, 0, "");
    this.#file = clamp(this.#file, this.#rows.length);
  }
}

const clamp = (value: number, length: number) => Math.max(0, Math.min(value, length - 1));

/** Exactly `width` columns of text without escapes. */
function fit(text: string, width: number): string {
  const characters = [...text];
  return characters.length > width
    ? `${characters.slice(0, Math.max(0, width - 1)).join("")}…`
    : text + " ".repeat(width - characters.length);
}

/** Without what a terminal would act on. */
export function printable(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "�");
}
