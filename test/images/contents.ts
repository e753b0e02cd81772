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

/** What an engine stores of images: blobs, layers, temporary files. Waits for removals that go on in the background. */
export async function contents({ dataRoot }: TestEngine) {
  const isRemoved = () => list(dataRoot, "layers").every((name) => !name.startsWith("tmp-"));
  // What is half-made stays, and is then seen.
  for (const end = Date.now() + 5000; !isRemoved() && Date.now() < end; ) await Bun.sleep(5);
  return {
    blobs: list(dataRoot, "content/blobs/sha256"),
    layers: list(dataRoot, "layers"),
    temporary: list(dataRoot, "tmp"),
    containers: list(dataRoot, "containers"),
  };
}

export const NOTHING = { blobs: [], layers: [], temporary: [], containers: [] };
