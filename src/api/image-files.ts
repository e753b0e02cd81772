import { invalid } from "../base/errors.ts";
import { readLayersInChild, sbom } from "../build/attest/command.ts";
import { type Call, flag, type Handler } from "./call.ts";

/** What is in an image's layers: a line of {@link file://../spec/image-files.ts} for each. */
export const imageFilesRoutes: Record<string, Handler> = {
  "GET /inro/images/**/files": async (call) => {
    const { id } = call.engine.images.find(call.params[0]!);
    return { status: 200, type: "application/x-ndjson", stream: files(call, id) };
  },
  "GET /inro/images/**/sbom": async (call) => {
    const format = call.query.get("format") || "spdx";
    if (format !== "spdx" && format !== "cyclonedx" && format !== "packages") {
      throw invalid(`invalid format ${JSON.stringify(format.slice(0, 50))}: spdx, cyclonedx or packages`);
    }
    const { id, config } = call.engine.images.find(call.params[0]!);
    const subject = { name: call.params[0]!, digest: id, created: config.created ?? EPOCH };
    const { layers, hold } = call.engine.images.layerFiles(id);
    try {
      const body = await sbom(layers, { format, subject }, call.signal);
      return { status: 200, type: "application/json", body };
    } finally {
      hold.release();
    }
  },
};

const EPOCH = "1970-01-01T00:00:00Z";

async function* files({ engine, query, signal }: Call, id: string): AsyncGenerator<Uint8Array> {
  const { layers, hold } = engine.images.layerFiles(id);
  try {
    yield* readLayersInChild({ kind: "files", layers, digests: flag(query, "digests") }, signal);
  } finally {
    hold.release();
  }
}
