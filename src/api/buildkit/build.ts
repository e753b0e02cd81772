import { InroError, invalid, messageOf, notImplemented } from "../../base/errors.ts";
import { BuildFailed } from "../../build/builder.ts";
import type { OpenContext } from "../../build/roots.ts";
import type { EngineBuild } from "../../engine/build/builds.ts";
import { parseReference } from "../../images/reference.ts";
import type { BuildEvent } from "../../spec/build.ts";
import type { StreamMessage } from "../../spec/docker-api.ts";
import { buildSettings } from "../build-settings.ts";
import type { Call, Reply } from "../call.ts";
import { messageStream } from "../messages.ts";
import { FileSync } from "./file-sync.ts";
import { type AgentSocket, agentOf, credentialsOf, secretOf } from "./services.ts";
import { type Session, sessionOf } from "./sessions.ts";
import { encodeStatus } from "./status.ts";

const MOST_DOCKERFILE = 4 << 20;
const HUB = "https://index.docker.io/v1/";

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
  const buildId = query.get("buildid");
  const cancel = new AbortController();
  const signal = AbortSignal.any([call.signal, session.gone, cancel.signal]);
  return messageStream(async (report) => {
    if (buildId) running.set(buildId, cancel);
    const client = new Client(session, query.get("dockerfile") || "Dockerfile");
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
  client: Client,
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
    open: (name, transferred, inner) => client.open(call, name, transferred, inner),
    secret: (name) => secretOf(client.session, name, signal),
    agent: (name) => client.agent(name, signal),
    async resolve(reference, platform, inner) {
      const auth = () => undefined;
      const here = pull ? undefined : builds.local(reference, platform);
      if (here) return here;
      const { domain } = parseReference(reference);
      const credentials = await credentialsOf(client.session, domain === "docker.io" ? HUB : domain, inner);
      return await builds.resolve(reference, platform, { pull, auth: credentials ? () => credentials : auth }, inner);
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
    const imageId = await builds.record(result, tags, signal);
    report({ id: "moby.image.id", aux: { ID: imageId } });
  } finally {
    await result.close();
  }
}

/** What the session's client has for one build. */
class Client {
  #ignored: readonly string[] | undefined;
  readonly #agents = new Map<string, Promise<AgentSocket | undefined>>();

  constructor(
    readonly session: Session,
    private readonly dockerfileName: string,
  ) {}

  async dockerfile(signal: AbortSignal): Promise<{ text: string; name: string }> {
    const name = this.dockerfileName;
    const files = await this.#small("dockerfile", [name, `${name}.dockerignore`], signal);
    const text = files.get(name);
    if (text === undefined) throw invalid(`failed to read dockerfile: open ${name}: no such file or directory`);
    const own = files.get(`${name}.dockerignore`);
    if (own !== undefined) this.#ignored = patternsOf(own);
    return { text, name };
  }

  async open(
    call: Call,
    name: string,
    transferred: (bytes: number) => void,
    signal: AbortSignal,
  ): Promise<OpenContext> {
    if (name === "context") {
      this.#ignored ??= patternsOf((await this.#small(name, [".dockerignore"], signal)).get(".dockerignore") ?? "");
    }
    const exclude = name === "context" ? (this.#ignored ?? []) : [];
    const sync = await FileSync.open(this.session, { name, exclude }, signal);
    try {
      const key = JSON.stringify([this.session.sharedKey || this.session.id, name]);
      const counted = async function* (tar: AsyncIterable<Uint8Array>) {
        let total = 0;
        for await (const chunk of tar) {
          total += chunk.length;
          transferred(total);
          yield chunk;
        }
      };
      return await call.engine.builds.contexts.sync(
        key,
        sync.listing(),
        (entries) => counted(sync.fetch(entries)),
        signal,
      );
    } finally {
      await sync.close();
    }
  }

  async agent(id: string, signal: AbortSignal): Promise<string | undefined> {
    const made = this.#agents.get(id) ?? agentOf(this.session, id, signal);
    this.#agents.set(id, made);
    return (await made)?.path;
  }

  async close(): Promise<void> {
    for (const made of this.#agents.values()) await (await made.catch(() => undefined))?.close();
  }

  /** Text files by their names, as far as they are there. */
  async #small(directory: string, names: string[], signal: AbortSignal): Promise<Map<string, string>> {
    const sync = await FileSync.open(this.session, { name: directory, include: names }, signal);
    try {
      const found = new Map<string, string>();
      for (const file of sync.files) {
        if (names.includes(file.path))
          found.set(file.path, file.size === 0 ? "" : (await sync.read(file, MOST_DOCKERFILE)).toString());
      }
      return found;
    } finally {
      await sync.close();
    }
  }
}

/** Lines of an ignore file that say something. */
function patternsOf(text: string): string[] {
  return text
    .replace(/^\uFEFF/, "")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
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
