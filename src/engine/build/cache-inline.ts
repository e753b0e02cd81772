import { invalid } from "../../base/errors.ts";
import type { BuildResult } from "../../build/builder.ts";
import { type CacheDocument, documented, parseCacheDocument } from "../../build/transfer/document.ts";
import type { ImageConfig } from "../../spec/oci-image.ts";

/** Where an image's configuration has the cache of its own steps; others leave the field alone. */
const FIELD = "inro.build-cache.v1";
/** A configuration is read whole at each pull. */
const MAX_INLINE = 1 << 20;

/** The images of a build, each with what its steps came to in its configuration. */
export function withInlineCache(result: BuildResult): BuildResult {
  const records = result.cache.records("min");
  const images = result.images.map((image) => {
    const numbers = new Map(image.layers.map(({ diffId }, at) => [diffId, at]));
    const document: CacheDocument = {
      version: 1,
      records: records.flatMap((record) => {
        if (!record.layer) return [documented(record)];
        const number = numbers.get(record.layer.diffId);
        return number === undefined ? [] : [{ ...documented(record), layer: number }];
      }),
      selections: result.cache.selections,
      mounts: [],
      diffIds: image.layers.map(({ diffId }) => diffId),
    };
    if (JSON.stringify(document).length > MAX_INLINE) {
      throw invalid(
        `the cache would make the image's configuration larger than ${MAX_INLINE} bytes: use type=registry`,
      );
    }
    return { ...image, config: JSON.stringify({ ...JSON.parse(image.config), [FIELD]: document }) };
  });
  return { ...result, images };
}

/** The cache in an image's configuration, of a manifest of `layers` layers; undefined: it has none. Errors are invalid. */
export function inlineCache(config: string, layers: number): CacheDocument | undefined {
  const image = Object(JSON.parse(config)) as ImageConfig & { [FIELD]?: unknown };
  if (image[FIELD] === undefined) return undefined;
  const document = parseCacheDocument(JSON.stringify(image[FIELD]), layers);
  const { diff_ids: own = [] } = image.rootfs ?? {};
  if (document.diffIds.some((diffId, at) => diffId !== own[at])) {
    throw invalid("invalid build cache: it is of other layers than the image's");
  }
  return document;
}
