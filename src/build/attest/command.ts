import { spawn } from "node:child_process";
import { join } from "node:path";
import { InroError, messageOf, unavailable } from "../../base/errors.ts";
import { Slots } from "../../images/slots.ts";
import { doorCommand } from "../../layers/door.ts";
import { READ_LAYERS_DOOR } from "./door.ts";
import type { LayerFile } from "./layer-reader.ts";
import type { ReadLayersMessage, ReadLayersWork } from "./process.ts";
import type { SbomFormat, SbomSubject } from "./sbom.ts";

/** Processes at once: each reads whole images. */
const slots = new Slots(4);

/**
 * Reads layers in a process of its own and gives what it prints. Leaving the loop, and an abort, end the process; then
 * it rejects with the signal's reason. Errors: invalid for a wrong archive.
 */
export async function* readLayersInChild(work: ReadLayersWork, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const started = Promise.withResolvers<Child>();
  const over = Promise.withResolvers<void>();
  slots
    .run(async () => {
      signal.throwIfAborted();
      started.resolve(start(work, signal));
      await over.promise;
    })
    .catch(started.reject);
  try {
    const child = await started.promise;
    try {
      for await (const chunk of child.stdout) yield chunk as Uint8Array;
      await child.ended;
    } finally {
      child.kill();
    }
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

interface Child {
  stdout: AsyncIterable<Uint8Array>;
  ended: Promise<void>;
  kill(): void;
}

function start(work: ReadLayersWork, signal: AbortSignal): Child {
  const [command, ...args] = doorCommand(READ_LAYERS_DOOR, join(import.meta.dir, "process.ts"), JSON.stringify(work));
  // Bun reads .env and bunfig.toml of the current directory: not of wherever the engine was started.
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], cwd: "/" });
  const kill = () => void child.kill("SIGKILL");
  signal.addEventListener("abort", kill);
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-10_000);
  });
  const ended = new Promise<void>((resolve, reject) => {
    child.on("error", (error) => reject(unavailable(`read layers: ${messageOf(error)}`, error)));
    child.on("close", (code, by) => {
      signal.removeEventListener("abort", kill);
      const message = lastMessage(said);
      if (signal.aborted) reject(signal.reason);
      else if (message && "done" in message) resolve();
      else if (message) reject(new InroError(message.error.kind, message.error.message));
      else
        reject(new InroError("internal", `read layers: the process ended with ${by ?? `exit code ${code}`}: ${said}`));
    });
  });
  // Not every caller waits for it.
  ended.catch(() => {});
  return { stdout: child.stdout, ended, kill };
}

function lastMessage(text: string): ReadLayersMessage | undefined {
  try {
    return JSON.parse(text.trimEnd().split("\n").at(-1) ?? "") as ReadLayersMessage;
  } catch {
    return undefined;
  }
}
