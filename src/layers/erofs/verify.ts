import { createHash } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../../base/errors.ts";
import { readFileChunks } from "../compression.ts";
import { TarParser } from "../tar-read.ts";
import { encodeMerged, INDEX, mergeLayers, TAR, TREE } from "./index-layer.ts";
import { TreeBuilder } from "./tree-builder.ts";
import { encodeTree } from "./tree-file.ts";

/** Plain data, since it goes to another process. */
export interface VerifyRequest {
  directory: string;
  /** Names of directories in it. */
  layers: readonly { name: string; diffId: string }[];
  /** Such names, base first, of images whose index is looked at; their trees are good. */
  images: readonly (readonly string[])[];
  /** Writes again what follows from the tars. */
  repair: boolean;
}

export interface LayerProblem {
  name: string;
  problem: string;
  /** False: the tar itself is not what it was. */
  repaired: boolean;
}

/** Hashes tars, and compares trees and indexes with what they come to now. */
export async function verifyLayers({ directory, layers, images, repair }: VerifyRequest): Promise<LayerProblem[]> {
  const problems: LayerProblem[] = [];
  for (const { name, diffId } of layers) {
    try {
      const { digest, tree } = await readTar(join(directory, name, TAR));
      if (digest !== diffId)
        problems.push({ name, problem: `its tar is corrupt: the digest is ${digest}`, repaired: false });
      else if (readFileSync(join(directory, name, TREE), "utf8") !== tree()) {
        if (repair) replace(join(directory, name, TREE), tree());
        problems.push({ name, problem: "its tree is not that of its tar", repaired: repair });
      }
    } catch (error) {
      problems.push({ name, problem: `cannot be read: ${messageOf(error)}`, repaired: false });
    }
  }
  for (const names of images) {
    const name = names.at(-1)!;
    const path = join(directory, name, INDEX);
    // Not needed yet; or the image was removed meanwhile.
    if (![path, ...names.map((each) => join(directory, each, TREE))].every((file) => existsSync(file))) continue;
    const wanted = encodeMerged(
      names.map((each) => join(directory, each)),
      name,
    );
    if (wanted.equals(readFileSync(path))) continue;
    if (repair) mergeLayers({ directory, layers: names });
    problems.push({ name, problem: "its index is not that of its layers", repaired: repair });
  }
  return problems;
}

async function readTar(path: string): Promise<{ digest: string; tree(): string }> {
  const hash = createHash("sha256");
  const parser = new TarParser();
  const builder = new TreeBuilder();
  let failure: unknown;
  for await (const chunk of readFileChunks(path)) {
    hash.update(chunk);
    try {
      if (!failure) for (const event of parser.push(chunk)) if ("entry" in event) builder.entry(event.entry);
    } catch (error) {
      // The digest says more.
      failure = error;
    }
  }
  return { digest: `sha256:${hash.digest("hex")}`, tree: () => encodeTree(builder.root) };
}

function replace(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
}
