import type { ImageSummary } from "../spec/docker-api.ts";
import { humanSize } from "./human.ts";

/** What one platform of an image takes, where the engine lists them (`manifests=1`). */
export interface ImageManifest {
  ID: string;
  Kind: string;
  Available: boolean;
  Size: { Content: number; Total: number };
  ImageData?: { Platform: { os: string; architecture: string; variant?: string }; Containers?: string[] | null };
}

type Cells = [name: string, id: string, usage: string, content: string, extra: string];

const HEAD: Cells = ["IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA"];
const GAP = 3;

/** `images --tree`: a line for each name, its platforms below it; U in the last column: a container uses it. */
export function imageTree(images: readonly (ImageSummary & { Manifests?: ImageManifest[] | null })[]): string {
  const rows = [HEAD];
  for (const image of images) {
    const names = (image.RepoTags ?? []).filter((name) => name !== "<none>:<none>");
    const platforms = (image.Manifests ?? []).filter(({ Kind }) => Kind === "image");
    const content = platforms.reduce((sum, { Size }) => sum + Size.Content, 0);
    for (const name of names.slice(1)) rows.push([name, "", "", "", ""]);
    const used = image.Containers > 0 || platforms.some(({ ImageData }) => (ImageData?.Containers ?? []).length > 0);
    rows.push([names[0] ?? "<untagged>", short(image.Id), humanSize(image.Size), humanSize(content), used ? "U" : ""]);
    platforms.forEach(({ ID, Size, ImageData, Available }, i) => {
      const { os = "", architecture = "", variant } = ImageData?.Platform ?? {};
      const branch = i === platforms.length - 1 ? "└─" : "├─";
      const name = [os, architecture, variant].filter(Boolean).join("/") || "(unknown)";
      const sizes = Available ? [humanSize(Size.Total), humanSize(Size.Content)] : ["-", "-"];
      const inUse = (ImageData?.Containers ?? []).length > 0 ? "U" : "";
      rows.push([`${branch} ${name}`, short(ID), sizes[0]!, sizes[1]!, inUse]);
    });
  }
  const widths = HEAD.map((_, i) => Math.max(...rows.map((row) => [...row[i]!].length)));
  // Sizes stand to the right.
  const cell = (text: string, i: number) => (i === 2 || i === 3 ? text.padStart(widths[i]!) : text.padEnd(widths[i]!));
  return rows.map((row) => `${row.map(cell).join(" ".repeat(GAP)).trimEnd()}\n`).join("");
}

const short = (id: string) => id.replace(/^sha256:/, "").slice(0, 12);
