import { invalid } from "../base/errors.ts";
import { IN_TOTO } from "../build/attest/attestation.ts";
import { readLayersInChild, sbom } from "../build/attest/command.ts";
import { CYCLONEDX_PREDICATE, SPDX_PREDICATE, statement } from "../build/attest/provenance.ts";
import type { SbomFormat } from "../build/attest/sbom.ts";
import { parseRegistryAuth } from "../registry/auth.ts";
import { type Call, flag, type Handler, json } from "./call.ts";

/** What is in an image's layers: a line of {@link file://../spec/image-files.ts} for each. */
export const imageFilesRoutes: Record<string, Handler> = {
  "GET /inro/images/**/files": async (call) => {
    const { id } = call.engine.images.find(call.params[0]!);
    return { status: 200, type: "application/x-ndjson", stream: files(call, id) };
  },
  "GET /inro/images/**/sbom": async (call) => {
    const format = call.query.get("format") || "spdx";
    if (format !== "packages" && !isSbomFormat(format)) throw noFormat(format);
    return { status: 200, type: "application/json", body: await makeSbom(call, format) };
  },
  // Makes one and attaches it to the image at its registry.
  "POST /inro/images/**/sbom": async (call) => {
    const reference = call.params[0]!;
    const format = call.query.get("format") || "spdx";
    if (!isSbomFormat(format)) throw noFormat(format);
    const predicateType = format === "spdx" ? SPDX_PREDICATE : CYCLONEDX_PREDICATE;
    const { digest } = call.engine.images.manifest(reference);
    const predicate = JSON.parse(await makeSbom(call, format));
    const data = Buffer.from(JSON.stringify(statement([{ name: reference, digest }], predicateType, predicate)));
    const annotations = { "in-toto.io/predicate-type": predicateType };
    const auth = parseRegistryAuth(call.request.headers["x-registry-auth"]?.toString() ?? "");
    const artifact = { artifactType: IN_TOTO, annotations, blobs: [{ mediaType: IN_TOTO, data, annotations }] };
    const asked = { reference, auth, signal: call.signal, subject: digest, artifact };
    return json(201, await call.engine.images.attach(asked));
  },
};

const isSbomFormat = (format: string): format is SbomFormat => format === "spdx" || format === "cyclonedx";
const noFormat = (format: string) =>
  invalid(`invalid format ${JSON.stringify(format.slice(0, 50))}: spdx or cyclonedx`);

async function makeSbom({ engine, params, signal }: Call, format: SbomFormat | "packages"): Promise<string> {
  const { id, config } = engine.images.find(params[0]!);
  const subject = { name: params[0]!, digest: id, created: config.created ?? EPOCH };
  const { layers, hold } = engine.images.layerFiles(id);
  try {
    return await sbom(layers, { format, subject }, signal);
  } finally {
    hold.release();
  }
}

const EPOCH = "1970-01-01T00:00:00Z";

async function* files({ engine, query, signal }: Call, id: string): AsyncGenerator<Uint8Array> {
  const { layers, hold } = engine.images.layerFiles(id);
  try {
    yield* readLayersInChild({ kind: "files", layers, digests: flag(query, "digests") }, signal);
  } finally {
    hold.release();
  }
}
