import { counted } from "../base/counted.ts";
import { InroError, invalid, messageOf } from "../base/errors.ts";
import { BuildFailed } from "../build/builder.ts";
import type { NamedContext } from "../build/frontend/options.ts";
import type { OpenContext } from "../build/roots.ts";
import type { EngineBuild } from "../engine/build/builds.ts";
import { withInlineCache } from "../engine/build/cache-inline.ts";
import type { CacheReach } from "../engine/build/cache-transfer.ts";
import { readContextFile } from "../engine/build/context-files.ts";
import { hostPlatform, parsePlatform } from "../images/platform.ts";
import type { BuildEvent } from "../spec/build.ts";
import {
  BUILD_FRAME,
  type BuildBody,
  type BuildContextSource,
  type BuildDone,
  type BuildFailure,
} from "../spec/build-stream.ts";
import { AgentSockets } from "./build-agents.ts";
import { bodyOf, cachesOf } from "./build-body.ts";
import { BuildConnection } from "./build-connection.ts";
import { authFor, authsOf, networkMode } from "./build-settings.ts";
import { type Call, type Handler, jsonBody } from "./call.ts";
import { clientFiles } from "./client-files.ts";

const TYPE = "application/vnd.inro.build-stream";
const MAX_SECRET = 500 << 10;

/** `POST /inro/build`; src/spec/build-stream.ts has the protocol. What is wrong with the request is a plain answer. */
export const buildStreamRoutes: Record<string, Handler> = {
  "POST /inro/build": async (call) => {
    if (!call.upgrade) throw invalid("build: the request must upgrade its connection");
    const body = bodyOf(await jsonBody(call));
    const connection = new BuildConnection();
    const agents = new AgentSockets(call.engine.builds.sockets, (agent) => connection.channel({ ask: "agent", agent }));
    const request = requestOf(call, body, connection, agents);
    // After the answer's header has gone out.
    setImmediate(() => void run(call, body, request, connection).finally(() => agents.close()));
    return {
      hijack: {
        type: TYPE,
        output: connection.output(),
        input: (data) => connection.input(data),
        endInput: async () => connection.endInput(),
        close: () => connection.close(),
      },
    };
  },
};

/** What the solver gets. */
function requestOf(call: Call, body: BuildBody, connection: BuildConnection, agents: AgentSockets): EngineBuild {
  const { builds } = call.engine;
  const sources = new Map<string, BuildContextSource>(Object.entries(body.contexts));
  if (body.context) sources.set("context", body.context);
  const opened = new Map<string, Promise<OpenContext>>();
  const open = (name: string, transferred: (bytes: number) => void, signal: AbortSignal): Promise<OpenContext> => {
    const known = opened.get(name);
    if (known) return known;
    const made = openSource(sources.get(name), transferred, signal);
    made.catch(() => {});
    opened.set(name, made);
    return made;
  };
  const openSource = async (
    one: BuildContextSource | undefined,
    transferred: (bytes: number) => void,
    signal: AbortSignal,
  ): Promise<OpenContext> => {
    if (!one) throw invalid("there is no such build context");
    if ("tar" in one) return await builds.contexts.unpack(counted(connection.unasked(), transferred), signal);
    if ("files" in one) {
      const listing = await connection.listing(one.files);
      const fetch = (entries: number[]) =>
        counted(connection.ask({ ask: "files", context: one.files, entries }), transferred);
      return await builds.contexts.sync(one.key, listing, fetch, signal);
    }
    if ("image" in one) throw invalid("an image is no build context");
    const remote = await builds.remote(request, one, signal);
    if ("dockerfile" in remote) throw invalid("what the URL has is a Dockerfile: this build has no context");
    return remote;
  };
  const auths = authsOf(body.auths);
  const contexts = new Map(Object.entries(body.contexts).map(([name, one]) => [name, named(one)] as const));
  const { network, extraHosts, pull, target, noCache, noCacheFilter } = body;
  const ulimits = body.ulimits.map(({ Name, Soft, Hard }) => ({ name: Name, soft: Soft, hard: Hard }));
  const platforms = [...new Set(body.platforms)].map(parsePlatform);
  const request: EngineBuild = {
    frontend: {
      ...(target ? { target } : {}),
      args: new Map(Object.entries(body.args)),
      labels: new Map(Object.entries(body.labels)),
      noCache: noCache || (noCacheFilter.length > 0 ? new Set(noCacheFilter.map((name) => name.toLowerCase())) : false),
      contexts,
      hasContext: body.context !== undefined,
      allow: new Set(body.allow),
      buildPlatform: hostPlatform(),
      network: networkMode(network),
    },
    platforms: platforms.length > 0 ? platforms : [hostPlatform()],
    extraHosts,
    limits: { ...(body.shmSize ? { shmSize: body.shmSize } : {}), ...(ulimits.length > 0 ? { ulimits } : {}) },
    async dockerfile(signal) {
      const { dockerfile, dockerfileName } = body;
      if (dockerfile !== undefined) return { text: dockerfile, name: dockerfileName };
      if (body.context && "http" in body.context) {
        const remote = await builds.remote(request, body.context, signal);
        if ("dockerfile" in remote) return { text: remote.dockerfile, name: dockerfileName };
        opened.set("context", Promise.resolve(remote));
      }
      const { source: files } = await open("context", () => {}, signal);
      const found = files.kind === "directory" ? readContextFile(files.path, dockerfileName) : undefined;
      if (found === undefined)
        throw invalid(`failed to read dockerfile: open ${dockerfileName}: no such file or directory`);
      return { text: found, name: dockerfileName };
    },
    open,
    resolve: (reference, wanted, signal) =>
      builds.resolve(reference, wanted, { pull, auth: (name) => authFor(auths, name) }, signal),
    async secret(id) {
      if (!body.secrets.includes(id)) return undefined;
      const chunks: Uint8Array[] = [];
      let size = 0;
      for await (const chunk of connection.ask({ ask: "secret", secret: id })) {
        size += chunk.length;
        if (size > MAX_SECRET) throw invalid(`secret ${id} is larger than ${MAX_SECRET} bytes`);
        chunks.push(chunk);
      }
      return Buffer.concat(chunks);
    },
    agent: async (id) => (body.agents.includes(id) ? await agents.socket(id) : undefined),
  };
  return request;
}

function named(one: BuildContextSource): NamedContext {
  if ("image" in one) return { kind: "image", reference: one.image };
  if ("git" in one) return { kind: "git", reference: one.git };
  if ("http" in one) return { kind: "http", url: one.http };
  return { kind: "files" };
}

async function run(call: Call, body: BuildBody, request: EngineBuild, connection: BuildConnection): Promise<void> {
  const report = (event: BuildEvent) => {
    const logs = event.logs?.map((log) => ({ ...log, data: Buffer.from(log.data).toString("base64") }));
    connection.send(BUILD_FRAME.event, logs ? { ...event, logs } : event);
  };
  try {
    connection.send(BUILD_FRAME.done, await builtOf(call, body, request, connection, report));
  } catch (error) {
    const failure: BuildFailure = {
      message: messageOf(error),
      kind: error instanceof InroError ? error.kind : "internal",
      ...(error instanceof BuildFailed && error.step ? { step: error.step } : {}),
      ...(error instanceof BuildFailed && error.excerpt ? { excerpt: error.excerpt } : {}),
    };
    connection.send(BUILD_FRAME.failed, failure);
  } finally {
    connection.end();
  }
}

async function builtOf(
  call: Call,
  body: BuildBody,
  request: EngineBuild,
  connection: BuildConnection,
  report: (event: BuildEvent) => void,
): Promise<BuildDone> {
  const { builds } = call.engine;
  const signal = connection.signal;
  if (body.call) {
    const { text: printed, exitCode } = await builds.look(request, body.call, signal);
    return { names: [], printed, exitCode };
  }
  const auths = authsOf(body.auths);
  const exporting = { ...body, auth: (name: string) => authFor(auths, name) };
  const { from, to } = cachesOf(body);
  const reach: CacheReach = {
    auth: exporting.auth,
    files: (number) => clientFiles(connection, number),
    give: (index, tar) => connection.give({ ask: "cache", index }, tar),
  };
  const imported = from.length > 0 ? await builds.transfer.open(from, reach, report, signal) : undefined;
  const built = await builds.build({ ...request, imported }, report, signal);
  try {
    const result = to.some(({ type }) => type === "inline") ? withInlineCache(built) : built;
    const done: BuildDone = { names: [] };
    const outputs = body.outputs.length > 0 ? body.outputs : [{ type: "docker" as const, attributes: {} }];
    for (const [index, output] of outputs.entries()) {
      const exported = await builds.exporter.export(result, output, exporting, report, signal, (kind, bytes) =>
        connection.give({ ask: "output", index, kind }, bytes),
      );
      Object.assign(done, exported);
    }
    for (const option of to) await builds.transfer.export(result, option, reach, report, signal);
    return done;
  } finally {
    await built.close();
  }
}
