import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { codeOf } from "../base/errors.ts";
import type { Descriptor } from "../spec/oci-image.ts";
import { ExitError } from "./command.ts";
import { splitReference } from "./pull.ts";

/** An entry of a list that is being put together here, as docker keeps it. */
export interface ListEntry {
  Ref: string;
  Descriptor: Descriptor;
}

/** Lists of `manifest create` that are not pushed yet: a directory a list, a file an entry, where docker has them. */
export class ManifestLists {
  constructor(readonly directory: string) {}

  has(list: string): boolean {
    return this.entries(list).length > 0;
  }

  entries(list: string): ListEntry[] {
    try {
      const directory = this.#path(list);
      const names = readdirSync(directory).filter((name) => !name.startsWith("."));
      return names.sort().map((name) => JSON.parse(readFileSync(`${directory}/${name}`, "utf8")) as ListEntry);
    } catch (error) {
      if (codeOf(error) === "ENOENT") return [];
      throw error;
    }
  }

  put(list: string, entry: ListEntry): void {
    const directory = this.#path(list);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    writeFileSync(`${directory}/${safe(entry.Ref)}`, JSON.stringify(entry, null, "\t"), { mode: 0o600 });
  }

  remove(list: string): void {
    if (!this.has(list)) throw new ExitError(1, `No such manifest: ${list}`);
    rmSync(this.#path(list), { recursive: true });
  }

  #path(list: string): string {
    return `${this.directory}/manifests/${safe(list)}`;
  }
}

/** One component of a path, whatever the name. */
function safe(name: string): string {
  const { fromImage, tag } = splitReference(name);
  const first = fromImage.split("/")[0]!;
  const whole =
    /[.:]/.test(first) || first === "localhost"
      ? fromImage
      : `docker.io/${fromImage.includes("/") ? "" : "library/"}${fromImage}`;
  const text = `${whole}:${tag}`.replaceAll(":", "-").replaceAll("/", "_");
  if (text.length > 255 || !/^[A-Za-z0-9][\w.@[\]-]*$/.test(text)) {
    throw new ExitError(1, `invalid reference format: ${JSON.stringify(name)}`);
  }
  return text;
}
