import type { Engine } from "../client/engine.ts";
import { ExitError } from "./command.ts";
import type { Output } from "./output.ts";
import { showProgress } from "./progress.ts";

/**
 * Pulls an image, or all of a repository where there is no tag, and shows how it goes on `output`; `quiet` shows nothing.
 * Rejects with what the engine said.
 */
export async function pullImage(
  engine: Engine,
  what: { fromImage: string; tag?: string; platform: string | undefined },
  quiet: boolean,
  output: Output,
): Promise<void> {
  const messages = engine.pullImage(what);
  if (!quiet) return showProgress(messages, output);
  for await (const message of messages) {
    if (message.error !== undefined) throw new ExitError(1, message.errorDetail?.message ?? message.error);
  }
}

/** Name and tag or digest of a reference; without either the tag is "latest". */
export function splitReference(image: string): { fromImage: string; tag: string } {
  const at = image.indexOf("@");
  if (at >= 0) return { fromImage: image.slice(0, at), tag: image.slice(at + 1) };
  const colon = image.lastIndexOf(":");
  if (colon > image.lastIndexOf("/")) return { fromImage: image.slice(0, colon), tag: image.slice(colon + 1) };
  return { fromImage: image, tag: "latest" };
}
