import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Mount, Spec } from "../../src/spec/oci-runtime.ts";
import { type Result, Runtime } from "./bundle.ts";

export type Change = (spec: Spec & { linux: NonNullable<Spec["linux"]> }) => void;

/** Bundles with mounts. */
export class MountRuntime extends Runtime {
  #ids = 0;

  /**
   * Runs a script in a container with `mounts` after the default ones, whose root can be written. The bundle has a
   * directory `src`; `prepare` adds to it, `change` edits the config last.
   */
  async mount(
    script: string,
    mounts: readonly Mount[],
    prepare: (bundle: string) => void = () => {},
    change: Change = () => {},
  ): Promise<Result & { bundle: string }> {
    const bundle = this.bundle(script, (s) => {
      s.root!.readonly = false;
      s.mounts = s.mounts!.concat(mounts);
      change(s as never);
    });
    mkdirSync(join(bundle, "src/sub"), { recursive: true });
    writeFileSync(join(bundle, "src/file"), "of the source\n");
    prepare(bundle);
    return { ...(await this.run(["run", "-b", bundle, `m${this.#ids++}`])), bundle };
  }
}

/** The last mount on `path`: its own options, type, source and the superblock's options. */
export function mountAt(mountinfo: string, path: string) {
  const line = mountinfo
    .split("\n")
    .findLast((line) => line.split(" ")[4] === path)
    ?.split(" - ");
  if (!line) throw new Error(`nothing on ${path}: ${mountinfo}`);
  const [type, source, superblock] = line[1]!.split(" ");
  return { options: line[0]!.split(" ")[5]!, type, source, superblock };
}

export const words = (text: string) => text.split(",").toSorted();
