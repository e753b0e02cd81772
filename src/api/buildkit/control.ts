import { invalid, notImplemented } from "../../base/errors.ts";
import type { Builds } from "../../engine/build/builds.ts";
import { withInlineCache } from "../../engine/build/cache-inline.ts";
import { type CacheOption, cacheOption } from "../../engine/build/cache-options.ts";
import type { PruneRequest } from "../../engine/build/usage.ts";
import type { Engine } from "../../engine/engine.ts";
import { hostPlatform } from "../../images/platform.ts";
import type { BuildCacheItem } from "../../spec/build.ts";
import { MIN_API_VERSION } from "../../spec/docker-api.ts";
import type { Handler } from "../call.ts";
import { exported } from "./exports.ts";
import { gatewayMethods, solveFrontend } from "./gateway.ts";
import { type GrpcMethod, type ServerCall, serveGrpc } from "./grpc-server.ts";
import { H2cConnection, mustBeH2c } from "./h2c.ts";
import { MessageReader, MessageWriter } from "./protobuf.ts";
import { credentialsFor } from "./session-client.ts";
import { Solving, solving, solvingOf } from "./solving.ts";
import { encodeStatus, timestamp } from "./status.ts";

/** `moby.buildkit.v1.Control` (api/services/control/control.proto), for buildx and what is made with it. */
const SERVICE = "/moby.buildkit.v1.Control/";
const ENTITLEMENTS = ["network.host", "security.insecure"];

/** `POST /grpc`: the connection becomes one of HTTP/2, on which the engine serves. */
export const grpc: Handler = async (call) => {
  mustBeH2c(call);
  const connection = new H2cConnection();
  connection.onClose = () => connection.far.destroy();
  // After the answer's header has gone out.
  setImmediate(() => serveGrpc(connection.far, methodsOf(call.engine)));
  return connection.hijack();
};

function methodsOf(engine: Engine): Record<string, GrpcMethod> {
  const { builds } = engine;
  const control: Record<string, GrpcMethod> = {
    Solve: (call) => solve(builds, call),
    Status: async (call) => {
      const one = await solvingOf(call.request.text(1), call.signal);
      for await (const event of one.events(call.signal)) {
        const status = encodeStatus(event);
        if (status.length > 0) await call.send(status);
      }
    },
    ListWorkers: async () => new MessageWriter().message(1, worker(engine)).finish(),
    Info: async () => new MessageWriter().message(1, version(engine)).finish(),
    DiskUsage: async () => {
      const message = new MessageWriter();
      for (const { item } of await builds.entries()) message.message(1, usage(item));
      return message.finish();
    },
    Prune: (call) => prune(builds, call),
  };
  return {
    ...Object.fromEntries(Object.entries(control).map(([name, method]) => [`${SERVICE}${name}`, method])),
    ...gatewayMethods(builds),
    // grpc.health.v1: SERVING.
    "/grpc.health.v1.Health/Check": async () => new MessageWriter().uint(1, 1).finish(),
  };
}

async function solve(builds: Builds, call: ServerCall): Promise<Uint8Array> {
  const { request } = call;
  const allow = new Set(request.all(9).map(String));
  const one = new Solving(request.text(5), allow, call.signal);
  // What is wrong is found out inside: other calls of the build wait for it, and are to hear that it is over.
  return await solving(request.text(1), one, () => solved(builds, one, call));
}

async function solved(builds: Builds, one: Solving, call: ServerCall): Promise<Uint8Array> {
  const { request } = call;
  if (request.message(2)) throw notImplemented("LLB of the client's own is not supported");
  const caches = request.message(8);
  const [to, from] = [4, 5].map((field) => cacheOptions(caches, field));
  for (const name of one.allow) {
    if (!ENTITLEMENTS.includes(name)) throw invalid(`invalid entitlement ${JSON.stringify(name.slice(0, 100))}`);
  }
  const [type, attributes, session] = [request.text(3), request.map(4), request.text(5)];
  const [frontend, options] = [request.text(6), request.map(7)];
  one.caches = from!;
  const found =
    frontend === "" ? await one.outcome() : await solveFrontend(builds, one, frontend, options, call.signal);
  if (frontend !== "" && found) one.keep(found);
  const answer = new MessageWriter();
  if (!found?.result) return answer.finish();
  const result = to!.some(({ type }) => type === "inline") ? withInlineCache(found.result) : found.result;
  const entries = await exported(builds, { result, session, type, attributes }, one.report, call.signal);
  for (const [key, value] of Object.entries(entries)) {
    answer.message(1, new MessageWriter().text(1, key).text(2, value).finish());
  }
  for (const option of to!) {
    const auth = option.type === "registry" ? await credentialsFor(session, option.ref, call.signal) : undefined;
    await builds.transfer.export(result, option, { auth: () => auth }, one.report, call.signal);
  }
  return answer.finish();
}

/** `CacheOptionsEntry`, repeated. */
function cacheOptions(options: MessageReader | undefined, field: number): CacheOption[] {
  return (options?.all(field) ?? []).map((bytes) => {
    const entry = new MessageReader(bytes);
    const flag = field === 4 ? "--cache-to" : "--cache-from";
    return cacheOption({ ...Object.fromEntries(entry.map(2)), type: entry.text(1) }, flag);
  });
}

function version(engine: Engine): Uint8Array {
  const { Version } = engine.version(MIN_API_VERSION);
  return new MessageWriter().text(1, "inro").text(2, `v${Version}`).finish();
}

function worker(engine: Engine): Uint8Array {
  const { os, architecture, variant } = hostPlatform();
  const labels = {
    "org.mobyproject.buildkit.worker.executor": "inro",
    // Clients take it for the ability to make archives of images.
    "org.mobyproject.buildkit.worker.snapshotter": "inro",
  };
  const record = new MessageWriter().text(1, engine.builds.worker);
  for (const [key, value] of Object.entries(labels)) {
    record.message(2, new MessageWriter().text(1, key).text(2, value).finish());
  }
  return record
    .message(3, new MessageWriter().text(1, architecture).text(2, os).text(3, variant).finish())
    .message(5, version(engine))
    .finish();
}

function usage(item: BuildCacheItem): Uint8Array {
  const message = new MessageWriter()
    .text(1, item.ID)
    .bool(2, item.Type !== "regular")
    .bool(3, item.InUse)
    .uint(4, item.Size)
    .message(6, timestamp(Date.parse(item.CreatedAt)))
    .message(7, item.LastUsedAt === null ? undefined : timestamp(Date.parse(item.LastUsedAt)))
    .uint(8, item.UsageCount)
    .text(9, item.Description)
    .text(10, item.Type)
    .bool(11, item.Shared);
  for (const parent of item.Parents ?? []) message.text(12, parent);
  return message.finish();
}

async function prune(builds: Builds, call: ServerCall): Promise<void> {
  const { request } = call;
  const duration = Number(request.int64(3)) / 1e6;
  const bytes = Number(request.int64(4));
  const pruning: PruneRequest = {
    all: request.uint(2) !== 0,
    filters: new Map([
      ...filtersOf(request.all(1).map(String)),
      ...(duration > 0 ? [["unused-for", [`${Math.round(duration)}ms`]] as [string, string[]]] : []),
    ]),
    ...(bytes > 0 ? { reserved: bytes } : {}),
  };
  const before = new Map((await builds.entries()).map(({ item }) => [item.ID, item]));
  const { CachesDeleted } = await builds.prune(pruning);
  for (const id of CachesDeleted ?? []) {
    const item = before.get(id);
    if (item) await call.send(usage(item));
  }
}

/** containerd's form: `key==value` (or `key=value`), several by commas; a key alone says that it is true. */
function filtersOf(texts: readonly string[]): [string, string[]][] {
  return texts
    .flatMap((text) => text.split(","))
    .filter(Boolean)
    .map((text) => {
      const [, key = "", value = "true"] = /^([a-z-]+)(?:==?"?([^"]*)"?)?$/s.exec(text) ?? [];
      if (key === "") throw invalid(`invalid filter ${JSON.stringify(text.slice(0, 100))}`);
      return [key, [value]];
    });
}
