import { writeAll } from "../../linux/file.ts";
import { workerMain } from "../../worker/main.ts";
import { takeInventory } from "./inventory.ts";
import type { LayerFile } from "./layer-reader.ts";
import { listFiles } from "./list-files.ts";
import type { Inventory } from "./package.ts";
import { cyclonedx, type SbomFormat, type SbomSubject, spdx } from "./sbom.ts";

/**
 * The other side of command.ts: `readLayersMain` is a hidden door of the program, which reads the archives of an image's
 * layers and ends. It has a process of its own since that takes as long as they are large.
 *
 *     engine  --stdin: work as JSON-->           this process
 *     engine  <--stdout: what it is asked for--  this process
 */
export type ReadLayersWork =
  | { kind: "files"; layers: LayerFile[]; digests: boolean }
  /** `packages` is the {@link Inventory} itself. */
  | { kind: "sbom"; layers: LayerFile[]; format: SbomFormat | "packages"; subject: SbomSubject };

/** Does the work that stdin has. The result is the exit code. */
export function readLayersMain(): Promise<number> {
  return workerMain(async () => {
    const work = JSON.parse(await Bun.stdin.text()) as ReadLayersWork;
    const write = (text: string) => writeAll(1, Buffer.from(text));
    if (work.kind === "files") {
      await listFiles(work.layers, work.digests, write);
      return;
    }
    const { format, subject } = work;
    const inventory = await takeInventory(work.layers);
    const makers = { spdx, cyclonedx, packages: (all: Inventory) => all };
    write(`${JSON.stringify(makers[format](inventory, subject))}\n`);
  });
}

// No top-level await: the single binary is compiled to bytecode, which has none.
if (import.meta.main) {
  readLayersMain().then((code) => {
    process.exit(code);
  });
}
