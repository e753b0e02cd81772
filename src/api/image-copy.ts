import { isDigest } from "../base/digest.ts";
import { invalid } from "../base/errors.ts";
import { parseRegistryAuth } from "../registry/auth.ts";
import type { ImageBlobs, ImageTransfer } from "../spec/image-copy.ts";
import { type Call, type Handler, json, jsonBody } from "./call.ts";
import { messageStream } from "./messages.ts";

const MAX_ITEMS = 20_000;

/** Images from engine to engine, and from registry to registry; src/spec/image-copy.ts has the protocol. */
export const imageCopyRoutes: Record<string, Handler> = {
  "POST /inro/images/blobs": async (call) => {
    const { Names } = await body(call);
    return json(200, { Blobs: call.engine.images.blobs(texts(Names, "Names")) } satisfies ImageBlobs);
  },
  "POST /inro/images/missing": async (call) => {
    const { Blobs } = await body(call);
    return json(200, { Missing: call.engine.images.missing(digests(Blobs, "Blobs")) });
  },
  "POST /inro/images/get": async (call) => {
    const { Names, Without } = await body(call);
    const without = new Set(digests(Without, "Without"));
    const stream = call.engine.images.save(texts(Names, "Names"), without);
    return { status: 200, type: "application/x-tar", stream };
  },
  "POST /inro/images/copy": async (call) => {
    const [source, target] = [call.query.get("source"), call.query.get("target")];
    if (!source || !target) throw invalid("copy: source and target are required");
    const auth = registryAuth(call, "x-registry-auth");
    const targetAuth = registryAuth(call, "x-registry-auth-target");
    return messageStream((report) =>
      call.engine.images.copy({
        ...{ source, target, onMessage: report, signal: call.signal },
        ...(auth ? { auth } : {}),
        ...(targetAuth ? { targetAuth } : {}),
      }),
    );
  },
};

const registryAuth = (call: Call, header: string) => parseRegistryAuth(call.request.headers[header]?.toString() ?? "");

async function body(call: Call): Promise<{ [K in keyof ImageTransfer]?: unknown }> {
  const value = await jsonBody(call);
  if (typeof value !== "object" || value === null) throw invalid("invalid JSON: the body must be an object");
  return value;
}

function texts(value: unknown, name: string): string[] {
  if (Array.isArray(value) && value.length <= MAX_ITEMS && value.every((item) => typeof item === "string"))
    return value;
  throw invalid(`invalid JSON: ${name} is no list of texts`);
}

function digests(value: unknown, name: string): string[] {
  const list = texts(value, name);
  if (list.every(isDigest)) return list;
  throw invalid(`invalid JSON: ${name} is no list of digests`);
}
