import { createHash } from "node:crypto";
import type { ImageFile, ImageFilesLine } from "../../spec/image-files.ts";
import { type LayerFile, readLayers } from "./layer-reader.ts";

const NANOSECONDS = 1_000_000_000n;

/** Writes a line of JSON for all that is in the layers; with `digests`, those of contents too. */
export async function listFiles(
  layers: readonly LayerFile[],
  digests: boolean,
  write: (text: string) => void,
): Promise<void> {
  let held = "";
  const line = (value: ImageFilesLine) => {
    held += `${JSON.stringify(value)}\n`;
  };
  const flush = async () => {
    if (held.length < 1 << 16) return;
    write(held);
    held = "";
  };
  let waiting: ImageFile | undefined;
  const settle = () => {
    if (waiting) line(waiting);
    waiting = undefined;
  };
  await readLayers(
    layers,
    {
      layer(index, diffId) {
        settle();
        line({ layer: index, diffId });
      },
      whiteout(path) {
        settle();
        line({ path, type: "whiteout" });
      },
      opaque(path) {
        settle();
        line({ path, type: "opaque" });
      },
      entry(path, entry, link) {
        settle();
        const { type, mode, uid, gid, size } = entry;
        waiting = { path, type, mode, uid, gid, size, mtime: Number(entry.mtime / NANOSECONDS) };
        if (link !== undefined) waiting.link = link;
        if (type === "char" || type === "block") waiting.device = `${entry.devMajor}:${entry.devMinor}`;
        if (entry.xattrs.size > 0) {
          const pairs = [...entry.xattrs].map(([name, value]) => [name, value.toString("base64")] as const);
          waiting.xattrs = Object.fromEntries(pairs.toSorted(([a], [b]) => (a < b ? -1 : 1)));
        }
      },
      body() {
        if (!digests) return undefined;
        const hash = createHash("sha256");
        return {
          data: (chunk) => void hash.update(chunk),
          end() {
            if (waiting) waiting.digest = `sha256:${hash.digest("hex")}`;
          },
        };
      },
    },
    flush,
  );
  settle();
  write(held);
}
