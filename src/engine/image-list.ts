import { invalid } from "../base/errors.ts";
import { type ImageRecord, toSummary } from "../images/inspect.ts";
import type { ImageSummary } from "../spec/docker-api.ts";
import type { Engine } from "./engine.ts";
import { labelsMatch } from "./list-filters.ts";
import type { Filters } from "./requests.ts";

/** Keys of `filters` for the list of images. */
export const IMAGE_FILTERS = ["before", "dangling", "label", "label!", "reference", "since"] as const;

/** GET /images/json, newest first. `before` and `since` name images; notFound when there is none of that name. */
export function listImages(engine: Engine, filters: Filters): ImageSummary[] {
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
  const dangling = filters.get("dangling");
  if (dangling) {
    const wanted = dangling.map(readBoolean);
    tests.push((image) => wanted.includes(image.tags.length === 0));
  }
  const references = filters.get("reference")?.map(glob);
  // A tag or digest counts whole, or by its name alone.
  const isWanted = (name: string) =>
    !references || references.some((test) => test(name) || test(name.replace(/(@[^@]+|:[^:/]+)$/, "")));
  if (references) tests.push(({ tags, digests }) => [...tags, ...digests].some(isWanted));
  return engine.images
    .list()
    .filter((image) => tests.every((test) => test(image)))
    .map((image) => ({
      ...toSummary({ ...image, tags: image.tags.filter(isWanted), digests: image.digests.filter(isWanted) }),
      Containers: engine.imageUsers(image.id).length,
    }));
}

function readBoolean(value: string): boolean {
  if (["1", "true"].includes(value)) return true;
  if (["0", "false"].includes(value)) return false;
  throw invalid(`invalid filter 'dangling=${value.slice(0, 100)}'`);
}

/** Shell patterns, of which `*` and `?` stop at a slash (Go's path.Match, without classes). */
function glob(pattern: string): (text: string) => boolean {
  if (pattern.length > 256) throw invalid("invalid filter 'reference': over 256 characters");
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replace(/\*+/g, "[^/]*")
    .replaceAll("?", "[^/]");
  const whole = new RegExp(`^${source}$`);
  return (text) => whole.test(text);
}
