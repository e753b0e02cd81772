import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { StoredLayer } from "../images/store.ts";
import type { CopyVertex, HttpVertex, MountDefinition, RunVertex, StepVertex, Vertex } from "./graph.ts";
import type { Ops } from "./ops.ts";
import type { CopyItem, CopyStep, Download, FileSource, RunMount, RunStep, Snapshot, StepContext } from "./step.ts";

/** What a step takes from other vertices, with their data. */
export interface Inputs {
  source(one: Vertex): Promise<FileSource>;
  download(one: HttpVertex): Promise<Download>;
  readonly limits?: Pick<RunStep, "limits" | "shmSize" | "ulimits">;
}

/** A step that has all it takes. The caller releases it. */
export interface PreparedStep {
  work(): Promise<StoredLayer | undefined>;
  release(): Promise<void>;
}

/** A vertex as what {@link Ops} do: all that it takes from others is there when this resolves. */
export async function prepareStep(
  one: StepVertex,
  base: Snapshot,
  ctx: StepContext,
  ops: Ops,
  inputs: Inputs,
): Promise<PreparedStep> {
  const nothing = async () => {};
  if (one.kind === "workdir") return { work: () => ops.workdirStep(one.path, base, ctx), release: nothing };
  if (one.kind === "copy") {
    const step = await copyStep(one, inputs);
    return { work: () => ops.copyStep(step, base, ctx), release: nothing };
  }
  const scripts: string[] = [];
  const release = async () => {
    for (const path of scripts) await rm(path, { recursive: true, force: true });
  };
  try {
    const step = await runStep(one, ctx, inputs, scripts);
    return { work: () => ops.runStep(step, base, ctx), release };
  } catch (error) {
    await release();
    throw error;
  }
}

async function runStep(one: RunVertex, ctx: StepContext, inputs: Inputs, scripts: string[]): Promise<RunStep> {
  const mounts = one.mounts.map((mount) => runMount(mount, ctx, inputs, scripts));
  // All of them, so that no script is written after its release.
  await Promise.allSettled(mounts);
  return { ...one.step, env: [...one.step.env, ...one.proxies], mounts: await Promise.all(mounts), ...inputs.limits };
}

async function runMount(
  mount: MountDefinition,
  ctx: StepContext,
  inputs: Inputs,
  scripts: string[],
): Promise<RunMount> {
  switch (mount.type) {
    case "bind": {
      const { from, path, ...rest } = mount;
      return { ...rest, source: await inputs.source(from), path };
    }
    case "cache": {
      const { from, path, ...rest } = mount;
      return from ? { ...rest, from: { source: await inputs.source(from), path } } : rest;
    }
    case "script": {
      await mkdir(ctx.directory, { recursive: true, mode: 0o700 });
      const directory = await mkdtemp(join(ctx.directory, "script-"));
      scripts.push(directory);
      const name = "script";
      await writeFile(join(directory, name), mount.content, { mode: 0o755 });
      const source = { kind: "directory", path: directory } as const;
      return { type: "bind", target: mount.target, source, path: `/${name}`, readOnly: true };
    }
    default:
      return mount;
  }
}

async function copyStep(one: CopyVertex, inputs: Inputs): Promise<CopyStep> {
  const items = one.items.map(async (item): Promise<CopyItem> => {
    if (item.kind === "files") return { kind: "files", source: await inputs.source(item.from), paths: item.paths };
    if (item.kind === "file") {
      return { kind: "file", name: item.name, content: Buffer.from(item.content), mode: 0o644 };
    }
    const { name, path, mtime } = await inputs.download(item.from);
    return { kind: "download", name, path, ...(mtime === undefined ? {} : { mtime }) };
  });
  const { destination, chown, chmod, parents, excludes, unpack, link } = one;
  return {
    items: await Promise.all(items),
    destination,
    ...(chown ? { chown } : {}),
    ...(chmod ? { chmod } : {}),
    parents,
    excludes,
    unpack,
    link,
  };
}
