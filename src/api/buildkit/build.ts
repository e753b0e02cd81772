import { InroError, invalid, messageOf, notImplemented } from "../../base/errors.ts";
import { BuildFailed } from "../../build/builder.ts";
import type { EngineBuild } from "../../engine/build/builds.ts";
import type { BuildEvent } from "../../spec/build.ts";
import type { StreamMessage } from "../../spec/docker-api.ts";
import { buildSettings } from "../build-settings.ts";
import type { Call, Reply } from "../call.ts";
import { messageStream } from "../messages.ts";
import { SessionClient } from "./session-client.ts";
import { sessionOf } from "./sessions.ts";
import { encodeStatus } from "./status.ts";

/** What docker's command line calls them. */
const DIRECTORIES = { dockerfile: "dockerfile", contexts: new Map([["context", "context"]]) };

/** Builds by their `buildid`, for those that cancel them. */
const running = new Map<string, AbortController>();

/** `POST /build/cancel`: no build of that id is no error, as it may have ended just now. */
export function cancelBuild(id: string): void {
  running.get(id)?.abort(new InroError("conflict", "the build was canceled"));
}

/** `POST /build?version=2`: the build of a client that has a session; its files, secrets and credentials come by that. */
export async function sessionBuild(call: Call, tags: readonly string[]): Promise<Reply> {
  const { query } = call;
  const remote = query.get("remote");
  if (remote !== "client-session")
    throw notImplemented(`building from ${remote || "a tar"} by BuildKit's protocol is not supported yet`);
  refuseOutputs(query.get("outputs"));
  const id = query.get("session");
  if (!id) throw invalid("a build with BuildKit's protocol needs a session");
  const session = await sessionOf(id, call.signal);
  const { builds } = call.engine;
  const buildId = query.get("buildid");
  const cancel = new AbortController();
  const signal = AbortSignal.any([call.signal, session.gone, cancel.signal]);
  return messageStream(async (report) => {
    if (buildId) running.set(buildId, cancel);
    const client = new SessionClient(session, builds, query.get("dockerfile") || "Dockerfile", DIRECTORIES);
    try {
      await build(call, client, tags, report, signal);
    } finally {
      if (buildId) running.delete(buildId);
      await client.close();
    }
  });
}

async function build(
  call: Call,
  client: SessionClient,
  tags: readonly string[],
  report: (message: StreamMessage) => void,
  signal: AbortSignal,
): Promise<void> {
  const { builds } = call.engine;
  const settings = buildSettings(call);
  const pull = settings.pull;
  const request: EngineBuild = {
    ...settings.build,
    dockerfile: (inner) => client.dockerfile(inner),
    open: (name, transferred, inner) => client.open(name, transferred, inner),
    secret: (name) => client.secret(name, signal),
    agent: (name) => client.agent(name, signal),
    async resolve(reference, platform, inner) {
      const here = pull ? undefined : builds.local(reference, platform);
      if (here) return here;
      const auth = await client.credentials(reference, inner);
      return await builds.resolve(reference, platform, { pull, auth: () => auth }, inner);
    },
  };
  const trace = (event: BuildEvent) => {
    const status = encodeStatus(event);
    if (status.length > 0) report({ id: "moby.buildkit.trace", aux: status.toString("base64") as unknown as object });
  };
  let result: Awaited<ReturnType<typeof builds.build>>;
  try {
    result = await builds.build(request, trace, signal);
  } catch (error) {
    signal.throwIfAborted();
    const message =
      error instanceof BuildFailed && error.excerpt ? `${error.excerpt}\n${messageOf(error)}` : messageOf(error);
    report({ errorDetail: { message }, error: message });
    return;
  }
  try {
    const imageId = await builds.exporter.record(result, tags, signal);
    report({ id: "moby.image.id", aux: { ID: imageId } });
  } finally {
    await result.close();
  }
}

function refuseOutputs(text: string | null): void {
  if (!text || text === "[]" || text === "null") return;
  let outputs: unknown;
  try {
    outputs = JSON.parse(text);
  } catch (error) {
    throw invalid("invalid outputs: not JSON", error);
  }
  if (!Array.isArray(outputs)) throw invalid("invalid outputs: not a list");
  for (const one of outputs as { Type?: unknown }[]) {
    if (!["moby", "image", "docker", ""].includes(String(one?.Type ?? ""))) {
      throw notImplemented(
        `output ${String(one?.Type).slice(0, 60)} is not supported by BuildKit's protocol yet: use inro build --output`,
      );
    }
  }
}
