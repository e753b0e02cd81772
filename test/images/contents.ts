import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { TestEngine } from "../harness.ts";

const list = (...path: string[]) => {
  try {
    return readdirSync(join(...path)).sort();
  } catch {
    return [];
  }
};

/** What an engine stores of images: blobs, layers (half-made ones too), temporary files. */
export function contents({ dataRoot }: TestEngine) {
  return {
    blobs: list(dataRoot, "content/blobs/sha256"),
    layers: list(dataRoot, "layers"),
    temporary: list(dataRoot, "tmp"),
    containers: list(dataRoot, "containers"),
  };
}
