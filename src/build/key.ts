import { digestOf, type HttpVertex, type StepVertex, type Vertex } from "./graph.ts";
import type { SelectionOptions } from "./ops.ts";
import type { Root } from "./roots.ts";
import type { Download } from "./step.ts";

/** Changes when a step of the same definition would come to something else. */
const VERSION = 1;

/** What a step sees of other vertices, their data not needed where the cache knows enough. */
export interface Sight {
  /** Digest of the files that COPY would take. */
  selected(from: Vertex, paths: readonly string[], options: SelectionOptions, epoch: number): Promise<string>;
  download(one: HttpVertex): Promise<Pick<Download, "name" | "digest">>;
  readonly extraHosts: readonly string[];
}

/** What a step does and the contents that it sees; nothing of when, where and for whom. */
export async function stepKey(one: StepVertex, base: Root, sight: Sight): Promise<string> {
  const { platform, epoch } = one;
  const common = { version: VERSION, kind: one.kind, platform, epoch };
  if (one.kind === "workdir") return digestOf({ ...common, base: base.chain, path: one.path });
  if (one.kind === "run") {
    const mounts = one.mounts.map(async (mount) => {
      if (!("from" in mount) || !mount.from) return mount;
      const { from, ...rest } = mount;
      return { ...rest, content: await sight.selected(from, [mount.path], { parents: false, excludes: [] }, epoch) };
    });
    const { extraHosts } = sight;
    return digestOf({ ...common, base: base.chain, step: one.step, mounts: await Promise.all(mounts), extraHosts });
  }
  const { destination, chown, chmod, parents, excludes, unpack, link } = one;
  const items = one.items.map(async (item) => {
    if (item.kind === "file") return item;
    if (item.kind === "files") return await sight.selected(item.from, item.paths, { parents, excludes, unpack }, epoch);
    const { name, digest } = await sight.download(item.from);
    return { name, digest };
  });
  // A linked layer stands on nothing, unless names of users are to be looked up.
  const alone = link && !/[a-z]/i.test(chown ?? "");
  return digestOf({
    ...common,
    base: alone ? "" : base.chain,
    items: await Promise.all(items),
    destination,
    chown,
    chmod,
    parents,
    excludes,
    unpack,
    link,
  });
}
