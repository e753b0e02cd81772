import { invalid } from "../../base/errors.ts";
import { parseReference, type Reference, repositoryName } from "../../images/reference.ts";

/**
 * References with `*` (any characters but `/`): `alpine` is docker.io/library/alpine with every tag and digest,
 * `registry.example/team/*:stable` only that tag. The pseudo-image `host` is matched by its name alone: it is the whole
 * machine, and no wildcard should mean that.
 */
export class ImagePattern {
  readonly isHost: boolean;
  readonly #repository: RegExp;
  readonly #tag: RegExp | undefined;

  /** Throws invalid. */
  constructor(readonly text: string) {
    this.isHost = text === "host";
    // The grammar of references has no star; a letter in its place does not change where the parts end.
    const letters = text.replaceAll("*", "0star0");
    let parsed: Reference;
    try {
      parsed = parseReference(letters);
    } catch (error) {
      throw invalid(`image ${JSON.stringify(text.slice(0, 100))} is no pattern of references`, error);
    }
    if (parsed.digest !== undefined) throw invalid(`image ${text}: a pattern has no digest`);
    // A star alone is every name, also those of other registries.
    this.#repository = text === "*" ? /^.*$/ : glob(repositoryName(parsed));
    this.#tag = parsed.tag === undefined ? undefined : glob(parsed.tag);
  }

  /** `tag` undefined is a pull of all tags, or of a digest. */
  matches(repository: string, tag: string | undefined): boolean {
    if (this.isHost || !this.#repository.test(repository)) return false;
    return this.#tag === undefined || (tag !== undefined && this.#tag.test(tag));
  }
}

function glob(text: string): RegExp {
  const escaped = text.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replaceAll("0star0", "[^/]*")}$`);
}
