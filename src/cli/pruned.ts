import { humanSize } from "./human.ts";

/** What a prune prints: a block of what went, if anything did, and the space in bytes. */
export function pruned(title: string, lines: readonly string[], space: number): string {
  return `${block(title, lines)}Total reclaimed space: ${humanSize(space, 4)}\n`;
}

export function block(title: string, lines: readonly string[]): string {
  return lines.length > 0 ? `${title}\n${lines.map((line) => `${line}\n`).join("")}\n` : "";
}

export function imageLines(removal: readonly { Untagged?: string; Deleted?: string }[]): string[] {
  return removal.map(({ Untagged, Deleted }) => (Untagged ? `untagged: ${Untagged}` : `deleted: ${Deleted}`));
}
