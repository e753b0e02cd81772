import { readLayersInChild } from "../build/attest/command.ts";
import { type Call, flag, type Handler } from "./call.ts";

/** What is in an image's layers: a line of {@link file://../spec/image-files.ts} for each. */
export const imageFilesRoutes: Record<string, Handler> = {
  "GET /inro/images/**/files": async (call) => {
    const { id } = call.engine.images.find(call.params[0]!);
    return { status: 200, type: "application/x-ndjson", stream: files(call, id) };
  },
};

async function* files({ engine, query, signal }: Call, id: string): AsyncGenerator<Uint8Array> {
  const { layers, hold } = engine.images.layerFiles(id);
  try {
    yield* readLayersInChild({ kind: "files", layers, digests: flag(query, "digests") }, signal);
  } finally {
    hold.release();
  }
}
