import { join } from "node:path";
import { Slots } from "../../../base/slots.ts";
import { doorCommand } from "../../../worker/door.ts";
import { outputOf, startWorker } from "../../../worker/start.ts";
import { BUILD_DOOR } from "./door.ts";
import type { BuildWork } from "./work.ts";

/** Processes at once: each has some 40 MB. */
const slots = new Slots(8);

/**
 * Does the work in a process of its own and hands its output to `take`. It is killed when `signal` fires, or when `take`
 * rejects, and has ended when the promise settles. Errors are those of the work, with their kind.
 */
export function inChild<T>(
  work: BuildWork,
  signal: AbortSignal,
  take: (output: AsyncIterable<Uint8Array>) => Promise<T>,
): Promise<T> {
  return slots.run(async () => {
    signal.throwIfAborted();
    const command = doorCommand(BUILD_DOOR, join(import.meta.dir, "process.ts"), "");
    const worker = startWorker({ command, what: "files of a build", stdio: ["pipe", "pipe"], signal });
    // Not by argv, where an argument has at most 128 KiB.
    worker.stdin.end(JSON.stringify(work));
    try {
      return await take(outputOf(worker));
    } finally {
      worker.kill();
      await worker.ended.catch(() => {});
    }
  });
}
