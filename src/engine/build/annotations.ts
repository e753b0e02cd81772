import { invalid, notImplemented } from "../../base/errors.ts";
import { formatPlatform, parsePlatform } from "../../images/platform.ts";
import type { Platform } from "../../spec/oci-image.ts";

const LEVELS = ["manifest", "manifest-descriptor", "index", "index-descriptor"] as const;
export type AnnotationLevel = (typeof LEVELS)[number];

const LEVEL = String.raw`(?:manifest|index)(?:-descriptor)?(?:\[[A-Za-z0-9_./-]+\])?`;
const GIVEN = new RegExp(String.raw`^(?:(${LEVEL}(?:,${LEVEL})*):)?([^=]+)=(.*)$`, "s");
const ATTRIBUTE = /^annotation(?:-((?:manifest|index)(?:-descriptor)?))?(?:\[([^\]]*)\])?\.(.+)$/s;

interface Given {
  readonly level: AnnotationLevel;
  /** Of this one alone. */
  readonly platform?: string;
  readonly key: string;
  readonly value: string;
}

/**
 * What an output of a build is to be annotated with: `--annotation [LEVEL[PLATFORM],…:]key=value`, and an output's
 * `annotation[-LEVEL][PLATFORM].key` (docs.docker.com/build/metadata/annotations). Without a level it is the manifest.
 */
export class Annotations {
  readonly #given: Given[] = [];

  /** Errors are invalid. */
  constructor(given: readonly string[], attributes: Readonly<Record<string, string>>) {
    for (const text of given) {
      const [, levels = "manifest", key, value] = GIVEN.exec(text) ?? [];
      if (key === undefined || value === undefined)
        throw invalid(`invalid annotation ${JSON.stringify(text.slice(0, 200))}: expected key=value`);
      for (const one of levels.split(",")) {
        const [, level, platform] = /^([a-z-]+)(?:\[(.*)\])?$/.exec(one)!;
        this.#add(level as AnnotationLevel, platform, key, value);
      }
    }
    for (const [name, value] of Object.entries(attributes)) {
      const [, level = "manifest", platform, key] = ATTRIBUTE.exec(name) ?? [];
      if (key !== undefined) this.#add(level as AnnotationLevel, platform, key, value);
    }
  }

  #add(level: AnnotationLevel, platform: string | undefined, key: string, value: string): void {
    if (platform === undefined) this.#given.push({ level, key, value });
    else this.#given.push({ level, platform: formatPlatform(parsePlatform(platform)), key, value });
  }

  /** Those of the index, or of a platform's manifest or descriptor; undefined where there are none. */
  of(level: AnnotationLevel, platform?: Platform): Record<string, string> | undefined {
    const name = platform && formatPlatform(platform);
    const mine = this.#given.filter(
      (one) => one.level === level && (one.platform === undefined || one.platform === name),
    );
    return mine.length > 0 ? Object.fromEntries(mine.map(({ key, value }) => [key, value])) : undefined;
  }

  /** Throws where one is of a level that the output has not. */
  only(levels: readonly AnnotationLevel[]): void {
    const other = this.#given.find(({ level }) => !levels.includes(level))?.level;
    if (other === undefined) return;
    if (other === "index") throw invalid("index annotations not supported for single platform export");
    throw notImplemented(`annotations of the ${other} are not supported for this output`);
  }
}
