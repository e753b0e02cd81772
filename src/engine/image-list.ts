import { invalid } from "../base/errors.ts";
import { matchGlob } from "../base/pattern.ts";
import { type ImageRecord, toSummary } from "../images/inspect.ts";
import type { ImageSummary } from "../spec/docker-api.ts";
import type { Engine } from "./engine.ts";
import { readBoolean } from "./filters.ts";
import { labelsMatch } from "./list-filters.ts";
import type { Filters } from "./requests.ts";
import { earliestUntil } from "./until.ts";

/** Keys of `filters` for the list of images. */
export const IMAGE_FILTERS = ["before", "dangling", "label", "label!", "reference", "since", "until"] as const;

/**
 * GET /images/json, newest first. `before` and `since` name images; notFound when there is none of that name. With
 * `sharedSize` also the bytes of layers that other images have too.
 */
export function listImages(engine: Engine, filters: Filters, options: { sharedSize?: boolean } = {}): ImageSummary[] {
  const tests: ((image: ImageRecord) => boolean)[] = [
    (image) => labelsMatch(image.config.config?.Labels ?? {}, filters),
  ];
  const created = (name: string) => engine.images.find(name).created;
  for (const name of filters.get("before") ?? []) {
    const limit = created(name);
    tests.push((image) => image.created < limit);
  }
  for (const name of filters.get("since") ?? []) {
    const limit = created(name);
    tests.push((image) => image.created > limit);
  }
  const until = earliestUntil(filters.get("until"));
  if (until !== undefined) tests.push((image) => Date.parse(image.created) <= until);
  const dangling = readBoolean(filters, "dangling");
  if (dangling !== undefined) tests.push((image) => dangling === (image.tags.length === 0));
  const references = filters.get("reference")?.map(glob);
  // A tag or digest counts whole, or by its name alone.
  const isWanted = (name: string) =>
    !references || references.some((test) => test(name) || test(name.replace(/(@[^@]+|:[^:/]+)$/, "")));
  if (references) tests.push(({ tags, digests }) => [...tags, ...digests].some(isWanted));
  const shared = options.sharedSize ? sharedSizes(engine) : undefined;
  return engine.images
    .list()
    .filter((image) => tests.every((test) => test(image)))
    .map((image) => ({
      ...toSummary({ ...image, tags: image.tags.filter(isWanted), digests: image.digests.filter(isWanted) }),
      Containers: engine.imageUsers(image.id).length,
      ...(shared ? { SharedSize: shared(image.id) } : {}),
    }));
}

/** Bytes of an image's layers that another image has too. */
function sharedSizes(engine: Engine): (id: string) => number {
  const counts = new Map<string, number>();
  const images = new Map(engine.images.list().map(({ id }) => [id, engine.images.layerSizes(id)]));
  for (const layers of images.values()) {
    for (const chain of layers.keys()) counts.set(chain, (counts.get(chain) ?? 0) + 1);
  }
  return (id) => {
    let bytes = 0;
    for (const [chain, size] of images.get(id) ?? []) if (counts.get(chain)! > 1) bytes += size;
    return bytes;
  };
}

function glob(pattern: string): (text: string) => boolean {
  if (pattern.length > 256) throw invalid("invalid filter 'reference': over 256 characters");
  return (text) => matchGlob(pattern, text);
}
