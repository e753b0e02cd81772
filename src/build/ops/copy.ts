import { mkdirSync } from "node:fs";
import { join, posix } from "node:path";
import { newId } from "../../base/digest.ts";
import { InroError } from "../../base/errors.ts";
import type { StoredLayer } from "../../images/store.ts";
import type { SelectionOptions } from "../ops.ts";
import type { CopyStep, FileSource, Snapshot, StepContext } from "../step.ts";
import { inChild } from "./child/command.ts";
import type { CopyItem, CopyWork, Root } from "./child/work.ts";
import { removeDirectory, storeLayer } from "./layer.ts";

/**
 * COPY and ADD, less the fetching. Answers the layer, which is stored, unpacked and held by `ctx.hold`; undefined when it
 * has nothing. Names in the destination are looked up in `base` by descriptors, and never outside of it. A missing
 * source is notFound; what cannot be copied where it should be is invalid. A failure leaves nothing.
 */
export async function copyStep(step: CopyStep, base: Snapshot, ctx: StepContext): Promise<StoredLayer | undefined> {
  const items = step.items.map((item): CopyItem => {
    if (item.kind === "files") {
      return { kind: "files", root: rootOf(item.source, ctx), paths: item.paths, owners: ownersOf(item.source) };
    }
    const { kind, name } = item;
    if (kind === "file") return { kind, name, content: Buffer.from(item.content).toString("base64"), mode: item.mode };
    return { kind, name, path: item.path, mtime: item.mtime ?? ctx.epoch ?? 0, unpack: step.unpack === "always" };
  });
  return await layerOf(
    {
      items,
      base: step.link ? [] : lowersOf(base, ctx),
      destination: step.destination,
      chown: step.chown,
      chmod: step.chmod,
      parents: step.parents,
      excludes: step.excludes,
      unpack: step.unpack !== "never",
    },
    base,
    ctx,
  );
}

/** WORKDIR: the directory, where the base has none. Undefined when it is there. */
export async function workdirStep(path: string, base: Snapshot, ctx: StepContext): Promise<StoredLayer | undefined> {
  const work = { items: [], parents: false, excludes: [], unpack: false, base: lowersOf(base, ctx) };
  return await layerOf({ ...work, destination: posix.resolve("/", path), directoryOnly: true }, base, ctx);
}

async function layerOf(
  work: Omit<CopyWork, "kind" | "epoch" | "directory">,
  base: Snapshot,
  ctx: StepContext,
): Promise<StoredLayer | undefined> {
  const id = newId();
  const directory = join(ctx.directory, id);
  mkdirSync(directory, { mode: 0o700 });
  try {
    const whole: CopyWork = { kind: "copy", epoch: ctx.epoch, directory, ...work };
    return await inChild(whole, ctx.signal, (tar) => storeLayer(tar, base, directory, ctx));
  } finally {
    await removeDirectory(ctx.directory, id);
  }
}

/** sha256 over what COPY would take of a source: content, names, modes, owners; no times, and not where it is. */
export async function digestSelection(
  source: FileSource,
  paths: readonly string[],
  { parents, excludes }: SelectionOptions,
  ctx: StepContext,
): Promise<string> {
  const work = {
    kind: "digest",
    root: rootOf(source, ctx),
    paths,
    parents,
    excludes,
    owners: ownersOf(source),
  } as const;
  return await inChild(work, ctx.signal, async (output) => {
    const text = Buffer.concat(await Array.fromAsync(output)).toString();
    if (!/^sha256:[0-9a-f]{64}$/.test(text)) throw new InroError("internal", `digest of files: ${text.slice(0, 200)}`);
    return text;
  });
}

const lowersOf = ({ layers }: Snapshot, ctx: StepContext): Root =>
  ctx.layers.lowers(layers.map(({ diffId }) => diffId));

function rootOf(source: FileSource, ctx: StepContext): Root {
  return source.kind === "directory" ? [source.path] : lowersOf(source.snapshot, ctx);
}

/** Files of a context are root's, as the client's owners mean nothing here; those of an image are as they are. */
const ownersOf = ({ kind }: FileSource) => (kind === "directory" ? "root" : "kept");
