import { invalid, messageOf } from "../../base/errors.ts";
import { decompress, readFileChunks } from "../../layers/compression.ts";
import { type Component, entryPath, linkPath, meaningOf, toText } from "../../layers/entry-path.ts";
import { type TarEntry, TarParser } from "../../layers/tar-read.ts";

/** A layer's tar: plain, gzip or zstd. */
export interface LayerFile {
  diffId: string;
  path: string;
}

/** What is in layers, in order. `body` is asked for each file, and may want its content. */
export interface LayerVisitor {
  layer(index: number, diffId: string): void;
  whiteout(path: string): void;
  opaque(path: string): void;
  entry(path: string, entry: TarEntry, link: string | undefined): void;
  /** Undefined: nobody wants the content. */
  body(path: string, entry: TarEntry): { data(chunk: Uint8Array): void; end(): void } | undefined;
}

/** Members of all layers together. */
const MAX_ENTRIES = 2_000_000;

/** Reads layers one after another; archives that are wrong are invalid. Awaits `between` after each chunk. */
export async function readLayers(
  layers: readonly LayerFile[],
  visitor: LayerVisitor,
  between: () => Promise<void> = async () => {},
): Promise<void> {
  let entries = 0;
  for (const [index, { diffId, path: file }] of layers.entries()) {
    visitor.layer(index, diffId);
    const parser = new TarParser();
    let body: ReturnType<LayerVisitor["body"]>;
    for await (const chunk of decompress(readFileChunks(file))) {
      for (const event of parser.push(chunk)) {
        if ("data" in event) body?.data(event.data);
        else if ("end" in event) {
          body?.end();
          body = undefined;
        } else {
          if (++entries > MAX_ENTRIES) throw invalid(`read layers: more than ${MAX_ENTRIES} files`);
          body = visit(visitor, event.entry, diffId);
        }
      }
      await between();
    }
    parser.end();
  }
}

function visit(visitor: LayerVisitor, entry: TarEntry, diffId: string): ReturnType<LayerVisitor["body"]> {
  try {
    const components = entryPath(entry.nameBytes);
    const meaning = meaningOf(components);
    const path = text(components);
    if (meaning.kind === "skip") return undefined;
    if (meaning.kind === "opaque") visitor.opaque(text(components.slice(0, -1)));
    else if (meaning.kind === "whiteout") visitor.whiteout(text([...components.slice(0, -1), meaning.name]));
    else {
      const link =
        entry.type === "hardlink"
          ? text(linkPath(entry.linknameBytes))
          : entry.type === "symlink"
            ? entry.linkname
            : undefined;
      visitor.entry(path, entry, link);
      if (entry.type === "file") return visitor.body(path, entry);
    }
    return undefined;
  } catch (error) {
    throw invalid(`layer ${diffId}: ${JSON.stringify(entry.name.slice(0, 200))}: ${messageOf(error)}`, error);
  }
}

const text = (components: readonly Component[]) => components.map(toText).join("/");
