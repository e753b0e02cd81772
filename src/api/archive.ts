import { createDeflateRaw, createGzip } from "node:zlib";
import { invalid } from "../base/errors.ts";
import type { PathStat } from "../spec/docker-api.ts";
import { type Call, empty, flag, type Handler, json, jsonBody } from "./call.ts";
import { compressed } from "./compressed.ts";

const ref = (call: Call) => call.params[0]!;
const path = (call: Call) => call.query.get("path") ?? "";

/** docker cp, export and commit. */
export const archiveRoutes: Record<string, Handler> = {
  "HEAD /containers/*/archive": async (call) => {
    const stat = await call.engine.archives.stat(ref(call), path(call), call.signal);
    return { status: 200, headers: statHeader(stat) };
  },
  "GET /containers/*/archive": async (call) => {
    const { stat, tar } = await call.engine.archives.pack(ref(call), path(call), call.signal);
    const { stream, headers } = negotiated(call, tar);
    return { status: 200, type: "application/x-tar", stream, headers: { ...headers, ...statHeader(stat) } };
  },
  "GET /containers/*/export": async (call) => ({
    status: 200,
    type: "application/x-tar",
    stream: call.engine.archives.export(ref(call), call.signal),
  }),
  "POST /commit": async (call) => {
    const { query } = call;
    const container = query.get("container");
    const body = await jsonBody(call, { optional: true });
    if (!container) throw invalid("bad parameter: container is required");
    const optional = (name: string) => query.get(name) || undefined;
    const Id = await call.engine.archives.commit(
      container,
      body,
      {
        repo: optional("repo"),
        tag: optional("tag"),
        comment: optional("comment"),
        author: optional("author"),
        pause: query.get("pause") ? flag(query, "pause") : true,
        changes: query
          .getAll("changes")
          .flatMap((text) => text.split("\n"))
          .filter((line) => line.trim() !== ""),
      },
      call.signal,
    );
    return json(201, { Id });
  },
  "PUT /containers/*/archive": async (call) => {
    await call.engine.archives.extract(
      ref(call),
      path(call),
      {
        source: call.request,
        noOverwriteDirNonDir: flag(call.query, "noOverwriteDirNonDir"),
        copyUIDGID: flag(call.query, "copyUIDGID"),
      },
      call.signal,
    );
    return empty(200);
  },
};

function statHeader(stat: PathStat): Record<string, string> {
  return { "X-Docker-Container-Path-Stat": Buffer.from(JSON.stringify(stat)).toString("base64") };
}

/** In the coding that the client names first of those that docker knows. */
function negotiated(call: Call, tar: AsyncIterable<Uint8Array>) {
  const accepted = String(call.request.headers["accept-encoding"] ?? "")
    .split(",")
    .map((part) => part.trim().toLowerCase())
    .filter((part) => !/;\s*q=0(\.0*)?$/.test(part))
    .map((part) => part.replace(/\s*;.*$/, ""));
  if (accepted.includes("gzip"))
    return { stream: compressed(tar, createGzip()), headers: { "Content-Encoding": "gzip" } };
  if (accepted.includes("deflate")) {
    return { stream: compressed(tar, createDeflateRaw()), headers: { "Content-Encoding": "deflate" } };
  }
  return { stream: tar, headers: {} };
}
