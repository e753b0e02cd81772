import { writeSync } from "node:fs";
import { InroError, messageOf } from "../../base/errors.ts";
import { sys } from "../../linux/call.ts";
import * as k from "../../linux/constants.ts";
import { writeAll } from "../../linux/file.ts";
import { takeInventory } from "./inventory.ts";
import type { LayerFile } from "./layer-reader.ts";
import { listFiles } from "./list-files.ts";
import type { Inventory } from "./package.ts";
import { cyclonedx, type SbomFormat, type SbomSubject, spdx } from "./sbom.ts";

/**
 * The other side of command.ts: `readLayersMain` is a hidden door of the program, which reads the archives of an image's
 * layers and ends. It has a process of its own since that takes as long as they are large.
 *
 *     engine  --argv: work as JSON-->            this process
 *     engine  <--stdout: what it is asked for--  this process
 *     engine  <--stderr: {done} or {error}--     this process
 */
export type ReadLayersWork =
  | { kind: "files"; layers: LayerFile[]; digests: boolean }
  /** `packages` is the {@link Inventory} itself. */
  | { kind: "sbom"; layers: LayerFile[]; format: SbomFormat | "packages"; subject: SbomSubject };

export type ReadLayersMessage = { done: true } | { error: { kind: InroError["kind"]; message: string } };

const SIGKILL = 9;

/** `json` is a {@link ReadLayersWork}. The result is the exit code. */
export async function readLayersMain(json: string): Promise<number> {
  sys("prctl", "PR_SET_PDEATHSIG", k.PR_SET_PDEATHSIG, SIGKILL);
  const write = (text: string) => writeAll(1, Buffer.from(text));
  try {
    const work = JSON.parse(json) as ReadLayersWork;
    if (work.kind === "files") await listFiles(work.layers, work.digests, write);
    else {
      const inventory = await takeInventory(work.layers);
      const { format, subject } = work;
      const makers = { spdx, cyclonedx, packages: (all: Inventory) => all };
      write(`${JSON.stringify(makers[format](inventory, subject))}\n`);
    }
    send({ done: true });
    return 0;
  } catch (error) {
    send({ error: { kind: error instanceof InroError ? error.kind : "internal", message: messageOf(error) } });
    return 1;
  }
}

function send(message: ReadLayersMessage): void {
  writeSync(2, `${JSON.stringify(message)}\n`);
}

if (import.meta.main) process.exit(await readLayersMain(process.argv[2] ?? ""));
