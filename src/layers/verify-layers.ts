import { statSync } from "node:fs";
import { join } from "node:path";
import { verifyInChild } from "./apply-command.ts";
import { TAR, TREE } from "./erofs/index-layer.ts";
import type { LayerProblem, VerifyRequest } from "./erofs/verify.ts";

/** An argument is at most 128 KiB (MAX_ARG_STRLEN, execve(2)); an image may have a hundred layers. */
const LAYERS_AT_ONCE = 500;
const IMAGES_AT_ONCE = 3;

/**
 * Reads every layer of `directory` that is a tar (`layers`, by the names of their directories) and compares it with its
 * diffID, and what was made of it with it; of `images` (such names, base first) the index too. `repair` makes anew what
 * comes from tars.
 */
export async function verifyLayers(
  directory: string,
  layers: readonly { name: string; diffId: string }[],
  images: readonly (readonly string[])[],
  options: { repair: boolean },
): Promise<LayerProblem[]> {
  const problems: LayerProblem[] = [];
  const verify = async (request: Partial<VerifyRequest>) => {
    problems.push(...(await verifyInChild({ directory, layers: [], images: [], ...request, ...options })));
  };
  const read = new Set<string>();
  const wanted = layers.filter(({ name }) => {
    // Several layers may be the same files.
    const files = [TAR, TREE].map((file) => statSync(join(directory, name, file), { throwIfNoEntry: false })?.ino);
    const known = read.has(files.join());
    read.add(files.join());
    return !known;
  });
  while (wanted.length > 0) await verify({ layers: wanted.splice(0, LAYERS_AT_ONCE) });
  const broken = new Set(problems.filter(({ repaired }) => !repaired).map(({ name }) => name));
  const whole = images.filter((names) => !names.some((name) => broken.has(name))).map((names) => [...names]);
  while (whole.length > 0) await verify({ images: whole.splice(0, IMAGES_AT_ONCE) });
  return problems;
}
