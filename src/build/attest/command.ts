import { join } from "node:path";
import { Slots } from "../../base/slots.ts";
import { doorCommand } from "../../worker/door.ts";
import { outputOf, startWorker, type Worker } from "../../worker/start.ts";
import { READ_LAYERS_DOOR } from "./door.ts";
import type { LayerFile } from "./layer-reader.ts";
import type { ReadLayersWork } from "./process.ts";
import type { SbomFormat, SbomSubject } from "./sbom.ts";

/** Processes at once: each reads whole images. */
const slots = new Slots(4);

/**
 * Reads layers in a process of its own and gives what it prints. Leaving the loop, and an abort, end the process; then
 * it rejects with the signal's reason. Errors: invalid for a wrong archive.
 */
export async function* readLayersInChild(work: ReadLayersWork, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const started = Promise.withResolvers<Worker>();
  const over = Promise.withResolvers<void>();
  slots
    .run(async () => {
      signal.throwIfAborted();
      const command = doorCommand(READ_LAYERS_DOOR, join(import.meta.dir, "process.ts"), "");
      const worker = startWorker({ command, what: "read layers", stdio: ["pipe", "pipe"], signal });
      // Not by argv, where an argument has at most 128 KiB: an image may have many layers.
      worker.stdin.end(JSON.stringify(work));
      started.resolve(worker);
      await over.promise;
    })
    .catch(started.reject);
  try {
    yield* outputOf(await started.promise);
  } finally {
    over.resolve();
  }
}

/** The bill of materials of an image with these layers (base first), as JSON, made in a process of its own. */
export async function sbom(
  layers: LayerFile[],
  options: { format: SbomFormat | "packages"; subject: SbomSubject },
  signal: AbortSignal,
): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readLayersInChild({ kind: "sbom", layers, ...options }, signal)) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
