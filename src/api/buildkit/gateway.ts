import { invalid, messageOf, notImplemented } from "../../base/errors.ts";
import { BuildFailed } from "../../build/builder.ts";
import type { Builds } from "../../engine/build/builds.ts";
import { type CacheOption, cacheOption } from "../../engine/build/cache-options.ts";
import { formatPlatform } from "../../images/platform.ts";
import type { RegistryAuth } from "../../registry/auth.ts";
import { DOCKERFILE, frontendBuild } from "./frontend.ts";
import type { GrpcMethod, ServerCall } from "./grpc-server.ts";
import { MessageReader, MessageWriter } from "./protobuf.ts";
import { sessionOf } from "./sessions.ts";
import { type Solved, type Solving, solvingOf } from "./solving.ts";

/**
 * `moby.buildkit.v1.frontend.LLBBridge` (frontend/gateway/pb/gateway.proto): what a client that drives a build itself
 * calls in it. Builds are those of a Dockerfile; LLB of the client's own is refused.
 */
const SERVICE = "/moby.buildkit.v1.frontend.LLBBridge/";

/** apicaps: what of the service is there. */
const CAPABILITIES = [
  "solve.base",
  "solve.inlinereturn",
  "resolveimage",
  "return",
  "returnmap",
  "proto.refarray",
  "reference.output",
  "gateway.solve.metadata",
  "gateway.solve.evaluate",
  "gateway.evaluate",
  "gateway.warnings",
  "frontend.caps",
];

export function gatewayMethods(builds: Builds): Record<string, GrpcMethod> {
  const methods: Record<string, GrpcMethod> = {
    Ping: async () => {
      const pong = new MessageWriter();
      for (const id of CAPABILITIES) pong.message(1, new MessageWriter().text(1, id).bool(2, true).finish());
      return pong.finish();
    },
    Solve: async (call) => solve(builds, call),
    // A result is whole when it is known.
    Evaluate: async (call) => {
      (await buildOf(call)).find(call.request.text(1));
      return new Uint8Array();
    },
    Return: async (call) => {
      const one = await buildOf(call);
      const [result, error] = [call.request.message(1), call.request.message(2)];
      if (error) one.return({ error: error.text(2) || "the client has given the build up" });
      else one.return({ id: result ? referenceOf(result) : "" });
      return new Uint8Array();
    },
    Inputs: async () => new Uint8Array(),
    Warn: async () => new Uint8Array(),
  };
  return Object.fromEntries(Object.entries(methods).map(([name, method]) => [`${SERVICE}${name}`, method]));
}

/** The build that a call belongs to, by its metadata. */
function buildOf(call: ServerCall): Promise<Solving> {
  return solvingOf(String(call.metadata["buildkit-controlapi-buildid"] ?? ""), call.signal);
}

async function solve(builds: Builds, call: ServerCall): Promise<Uint8Array> {
  const { request, signal } = call;
  const one = await buildOf(call);
  const frontend = request.text(2);
  if (request.message(1) && frontend === "") throw notImplemented("LLB of the client's own is not supported");
  const solved = await solveFrontend(builds, one, frontend, request.map(3), AbortSignal.any([signal, one.signal]));
  return new MessageWriter().message(3, resultMessage(one.keep(solved), solved)).finish();
}

/** Builds what the attributes of a frontend say, for one {@link Solving}. */
export async function solveFrontend(
  builds: Builds,
  one: Solving,
  frontend: string,
  attributes: ReadonlyMap<string, string>,
  signal: AbortSignal,
): Promise<Solved> {
  if (frontend !== DOCKERFILE)
    throw notImplemented(`frontend ${frontend.slice(0, 60)} is not supported: use ${DOCKERFILE}`);
  const session = await sessionOf(one.session, signal);
  const { build, client, subrequest } = frontendBuild(builds, session, attributes, one.allow);
  const either = AbortSignal.any([signal, session.gone]);
  try {
    if (subrequest) {
      const { text, exitCode, data } = await builds.look(build, subrequest, either);
      const texts = {
        "result.json": JSON.stringify(data, undefined, 2),
        "result.txt": text,
        "result.statuscode": String(exitCode),
        version: "1.0.0",
      };
      return { metadata: new Map(Object.entries(texts).map(([key, value]) => [key, Buffer.from(value)])) };
    }
    const from = [...one.caches, ...importsOf(attributes.get("cache-imports"))];
    const auths = new Map<string, RegistryAuth | undefined>();
    for (const option of from) {
      if (option.type === "registry") auths.set(option.ref, await client.credentials(option.ref, either));
    }
    const reach = { auth: (ref: string) => auths.get(ref) };
    const imported = from.length > 0 ? await builds.transfer.open(from, reach, one.report, either) : undefined;
    const result = await builds.build({ ...build, imported }, one.report, either);
    const several = result.images.length > 1 || attributes.get("multi-platform") === "true";
    const metadata = new Map<string, Uint8Array>();
    for (const { platform, config } of result.images) {
      metadata.set(`containerimage.config${several ? `/${formatPlatform(platform)}` : ""}`, Buffer.from(config));
    }
    if (several) {
      const platforms = result.images.map(({ platform }) => ({ ID: formatPlatform(platform), Platform: platform }));
      metadata.set("refs.platforms", Buffer.from(JSON.stringify({ Platforms: platforms })));
    }
    return { result, metadata };
  } catch (error) {
    either.throwIfAborted();
    // Clients print the message: the lines it is about belong to it.
    if (error instanceof BuildFailed && error.excerpt) {
      throw new BuildFailed(`${error.excerpt}\n${withoutPrefix(messageOf(error))}`, error.cause, error.step, undefined);
    }
    throw error;
  } finally {
    await client.close();
  }
}

/** What the client puts among a frontend's attributes: JSON of `CacheOptionsEntry`s. */
function importsOf(text: string | undefined): CacheOption[] {
  if (!text) return [];
  let entries: unknown;
  try {
    entries = JSON.parse(text);
  } catch (error) {
    throw invalid("invalid cache-imports: not JSON", error);
  }
  if (!Array.isArray(entries)) throw invalid("invalid cache-imports: not a list");
  return entries.map((entry) => {
    const { Type, Attrs } = Object(entry) as { Type?: unknown; Attrs?: unknown };
    const given = Object.entries(Object(Attrs)).map(([key, value]) => [key, String(value)]);
    return cacheOption({ ...Object.fromEntries(given), type: String(Type) }, "--cache-from");
  });
}

/** The client says itself that it failed to solve. */
const withoutPrefix = (message: string) => message.replace(/^failed to solve: /, "");

function resultMessage(id: string, { result, metadata }: Solved): Uint8Array {
  const message = new MessageWriter();
  if (metadata.has("refs.platforms")) {
    const refs = new MessageWriter();
    for (const { platform } of result!.images) {
      const name = formatPlatform(platform);
      const ref = new MessageWriter().text(1, `${id}/${name}`).finish();
      refs.message(1, new MessageWriter().text(1, name).message(2, ref).finish());
    }
    message.message(4, refs.finish());
  } else message.message(3, new MessageWriter().text(1, result ? id : "").finish());
  for (const [key, value] of metadata) {
    message.message(10, new MessageWriter().text(1, key).bytes(2, value).finish());
  }
  return message.finish();
}

/** The name in a `Result`, in any of its four forms; of several platforms it is the same build. */
function referenceOf(result: MessageReader): string {
  const one = result.message(3)?.text(1) || result.text(1);
  if (one) return one;
  for (const field of [4, 2]) {
    const [entry] = result.message(field)?.all(1) ?? [];
    if (!entry) continue;
    const pair = new MessageReader(entry);
    return field === 4 ? (pair.message(2)?.text(1) ?? "") : pair.text(2);
  }
  return "";
}
