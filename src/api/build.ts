import { InroError, invalid, messageOf, notImplemented } from "../base/errors.ts";
import { gitReference, isUrl } from "../build/frontend/remote.ts";
import { StepFailed } from "../build/ops/failed.ts";
import type { EngineBuild } from "../engine/build/builds.ts";
import { ClassicOutput } from "../engine/build/classic-output.ts";
import { readContextFile, removeIgnored } from "../engine/build/context-files.ts";
import { BUILD_PRUNE_FILTERS } from "../engine/build/usage.ts";
import { parseFilters } from "../engine/filters.ts";
import { parseReference } from "../images/reference.ts";
import type { StreamMessage } from "../spec/docker-api.ts";
import { buildSettings } from "./build-settings.ts";
import { type Call, flag, type Handler, integer, json } from "./call.ts";
import { messageStream } from "./messages.ts";

export const buildRoutes: Record<string, Handler> = {
  "POST /build": async (call) => {
    const { query } = call;
    if (query.get("version") === "2") {
      const tags = query.getAll("t").filter((tag) => tag !== "");
      for (const tag of tags) parseReference(tag);
      const { sessionBuild } = await import("./buildkit/build.ts");
      return await sessionBuild(call, tags);
    }
    const remote = query.get("remote");
    if (remote === "client-session") throw notImplemented("contexts of BuildKit's sessions are not supported here");
    if (flag(query, "squash")) throw notImplemented("squash is not supported: layers are shared between images");
    if (query.get("outputs") && query.get("outputs") !== "[]") {
      throw notImplemented("outputs are not supported by the classic builder");
    }
    const tags = query.getAll("t").filter((tag) => tag !== "");
    for (const tag of tags) parseReference(tag);
    const dockerfileName = contextPath(query.get("dockerfile") || "Dockerfile");
    const settings = buildSettings(call).build;
    const quiet = flag(query, "q");
    const { builds } = call.engine;
    return messageStream(async (report) => {
      const files = remote
        ? await builds.remote({ ...settings, ...NO_FILES }, remoteSource(remote), call.signal)
        : await builds.contexts.unpack(call.request, call.signal);
      if ("dockerfile" in files) {
        const dockerfile = async () => ({ text: files.dockerfile, name: dockerfileName });
        const frontend = { ...settings.frontend, hasContext: false };
        return await build(call, { ...settings, ...NO_FILES, frontend, dockerfile }, tags, quiet, report);
      }
      let used = false;
      try {
        const directory = (files.source as { path: string }).path;
        const text = readContextFile(directory, dockerfileName);
        if (text === undefined) throw invalid(`Cannot locate specified Dockerfile: ${dockerfileName}`);
        await removeIgnored(directory, dockerfileName);
        const request: EngineBuild = {
          ...settings,
          dockerfile: async () => ({ text, name: dockerfileName }),
          open: async (name) => {
            if (name !== "context") throw invalid(`there is no build context ${name}`);
            used = true;
            return files;
          },
        };
        await build(call, request, tags, quiet, report);
      } finally {
        if (!used) await files.release();
      }
    });
  },
  "POST /build/cancel": async (call) => {
    const id = call.query.get("id");
    if (!id) throw invalid("build ID not provided");
    // Classic builds end with their connection, and have no id.
    (await import("./buildkit/build.ts")).cancelBuild(id);
    return { status: 200 };
  },
  "POST /build/prune": async (call) => {
    const { query } = call;
    const bytes = (...names: string[]) => {
      const value = names.map((name) => integer(query, name)).find((one) => one !== undefined && one > 0);
      return value;
    };
    const reserved = bytes("reserved-space", "keep-storage");
    const max = bytes("max-used-space");
    const free = bytes("min-free-space");
    const answer = await call.engine.builds.prune({
      all: flag(query, "all"),
      filters: parseFilters(query.get("filters") ?? "", BUILD_PRUNE_FILTERS),
      ...(reserved === undefined ? {} : { reserved }),
      ...(max === undefined ? {} : { max }),
      ...(free === undefined ? {} : { free }),
    });
    return json(200, answer);
  },
};

const NO_FILES: Pick<EngineBuild, "open" | "dockerfile"> = {
  open: async () => {
    throw invalid("this build has no context");
  },
  dockerfile: async () => {
    throw invalid("this build has no Dockerfile");
  },
};

/** A git repository, or any other URL. */
function remoteSource(url: string): { git: string } | { http: string } {
  if (gitReference(url) || !isUrl(url)) return { git: url };
  return { http: url };
}

async function build(
  call: Call,
  request: EngineBuild,
  tags: readonly string[],
  quiet: boolean,
  report: (message: StreamMessage) => void,
): Promise<void> {
  const { builds } = call.engine;
  let begun = false;
  const output = new ClassicOutput((stream) => {
    begun = true;
    if (!quiet) report({ stream });
  });
  let result: Awaited<ReturnType<typeof builds.build>>;
  try {
    result = await builds.build(request, (event) => output.event(event), call.signal);
  } catch (error) {
    if (!(error instanceof InroError)) throw error;
    const { cause } = error;
    const code = cause instanceof Error && "exitCode" in cause ? { code: Number(cause.exitCode) } : {};
    const message = classicMessage(error);
    // As in docker what is wrong with the request, the Dockerfile among it, is the status of the answer.
    if (!begun) throw new InroError(error.kind, message, { cause: error });
    report({ errorDetail: { ...code, message }, error: message });
    return;
  }
  try {
    output.finish();
    const id = await builds.exporter.record(result, tags, call.signal);
    report({ aux: { ID: id } });
    if (quiet) report({ stream: `${id}\n` });
    else {
      report({ stream: `Successfully built ${id.slice(7, 19)}\n` });
      for (const tag of tags) report({ stream: `Successfully tagged ${withTag(tag)}\n` });
    }
  } finally {
    await result.close();
  }
}

/** In the classic builder's words. */
function classicMessage(error: InroError): string {
  const { cause } = error;
  const ran = cause instanceof StepFailed && /^process (".*?") did not/s.exec(cause.message)?.[1];
  if (ran) return `The command '${JSON.parse(ran)}' returned a non-zero code: ${(cause as StepFailed).exitCode}`;
  return messageOf(cause ?? error);
}

const withTag = (tag: string) => (/:[^/]+$/.test(tag) ? tag : `${tag}:latest`);

/** A path inside of a context, cleaned. */
function contextPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  if (parts.length === 0 || path.includes("\0"))
    throw invalid(`invalid path of the Dockerfile: ${JSON.stringify(path.slice(0, 200))}`);
  return parts.join("/");
}
