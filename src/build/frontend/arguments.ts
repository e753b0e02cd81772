import { formatPlatform } from "../../images/platform.ts";
import type { Platform } from "../../spec/oci-image.ts";
import type { Dockerfile } from "../dockerfile/ast.ts";
import type { Expander } from "../dockerfile/expand.ts";
import type { FrontendOptions } from "./options.ts";

/** Arguments that every RUN has when they are given, and that are in no history and no key. */
export const PROXIES = ["HTTP", "HTTPS", "FTP", "NO", "ALL"].flatMap((name) => [
  `${name}_PROXY`,
  `${name}_proxy`.toLowerCase(),
]);

/** Given to the builder, not to the Dockerfile. */
const BUILDERS = /^BUILDKIT_/;

function sides(side: "TARGET" | "BUILD", { os, architecture, variant, "os.version": version }: Platform) {
  return {
    [`${side}PLATFORM`]: formatPlatform({ os, architecture, ...(variant ? { variant } : {}) }),
    [`${side}OS`]: os,
    [`${side}OSVERSION`]: version ?? "",
    [`${side}ARCH`]: architecture,
    [`${side}VARIANT`]: variant ?? "",
  };
}

/** What the arguments of a build are before its first stage. */
export class Arguments {
  /** Those that a stage may ask for. */
  readonly global = new Map<string, string>();
  readonly #used = new Set<string>();

  constructor(
    private readonly options: FrontendOptions,
    file: Dockerfile,
    expander: Expander,
  ) {
    const platforms = { ...sides("TARGET", options.platform), ...sides("BUILD", options.buildPlatform) };
    const predefined = { ...platforms, TARGETSTAGE: options.target || "default" };
    for (const [name, value] of Object.entries(predefined)) this.global.set(name, this.given(name) ?? value);
    for (const { args } of file.globalArgs) {
      for (const { name, value } of args) {
        const set = this.given(name) ?? (value === undefined ? undefined : expander.word(value, this.lookup));
        if (set !== undefined) this.global.set(name, set);
      }
    }
  }

  readonly lookup = (name: string): string | undefined => this.global.get(name);

  /** The value of `--build-arg`. */
  given(name: string): string | undefined {
    this.#used.add(name);
    return this.options.args.get(name);
  }

  get proxies(): string[] {
    return PROXIES.flatMap((name) => {
      const value = this.options.args.get(name);
      return value === undefined ? [] : [`${name}=${value}`];
    });
  }

  get unused(): string[] {
    const known = (name: string) =>
      this.#used.has(name) || PROXIES.includes(name) || BUILDERS.test(name) || name === "SOURCE_DATE_EPOCH";
    return [...this.options.args.keys()].filter((name) => !known(name)).sort();
  }
}
