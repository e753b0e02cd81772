import { notImplemented } from "../../base/errors.ts";
import type { BuildResult } from "../../build/builder.ts";
import type { Builds } from "../../engine/build/builds.ts";
import { parseReference } from "../../images/reference.ts";
import type { BuildEvent } from "../../spec/build.ts";
import type { BuildOutput } from "../../spec/build-stream.ts";
import { sendDirectory, sendFile } from "./file-send.ts";
import { credentialsFor } from "./session-client.ts";
import { sessionOf } from "./sessions.ts";

/** Exporters by their names in BuildKit; `moby` is dockerd's own, after which its client pushes. */
const TYPES: Readonly<Record<string, BuildOutput["type"]>> = {
  "": "cacheonly",
  moby: "image",
  image: "image",
  docker: "docker",
  oci: "oci",
  tar: "tar",
  local: "local",
};

interface Export {
  readonly result: BuildResult;
  readonly session: string;
  readonly type: string;
  readonly attributes: ReadonlyMap<string, string>;
}

/** Does one output of a build; the answer is what its client is told (client/solve.go's ExporterResponse). */
export async function exported(
  builds: Builds,
  { result, session: id, type, attributes: given }: Export,
  report: (event: BuildEvent) => void,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  const kind = Object.hasOwn(TYPES, type) ? TYPES[type] : undefined;
  if (!kind) throw notImplemented(`output ${JSON.stringify(type.slice(0, 60))} is not supported`);
  const attributes: Record<string, string> = Object.fromEntries(given);
  if (type === "moby") delete attributes.push;
  // Clients want it by their content store, blob by blob.
  if (attributes.tar === "false") throw notImplemented("a directory of an image (tar=false) is for inro build");
  const names = (attributes.name ?? "").split(",").filter(Boolean);
  for (const name of names) parseReference(name);
  const session = await sessionOf(id, signal);
  const output: BuildOutput = { type: kind, attributes, ...(kind === "docker" ? { dest: "-" } : {}) };
  const auths = new Map<string, Awaited<ReturnType<typeof credentialsFor>>>();
  if (attributes.push === "true") {
    for (const name of names) auths.set(parseReference(name).domain, await credentialsFor(id, name, signal));
  }
  const body = { tags: names, annotations: [], auth: (name: string) => auths.get(parseReference(name).domain) };
  const done = await builds.exporter.export(result, output, body, report, signal, async (what, bytes) => {
    if (what === "file") await sendFile(session, bytes, {}, signal);
    else await sendDirectory(session, bytes, builds.temporary, signal);
  });
  return {
    ...(done.digest ? { "containerimage.digest": done.digest } : {}),
    ...(done.imageId ? { "containerimage.config.digest": done.imageId } : {}),
    ...(done.descriptor
      ? { "containerimage.descriptor": Buffer.from(JSON.stringify(done.descriptor)).toString("base64") }
      : {}),
    ...(done.names && done.names.length > 0 ? { "image.name": done.names.join(",") } : {}),
  };
}
