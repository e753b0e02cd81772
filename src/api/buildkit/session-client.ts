import { counted } from "../../base/counted.ts";
import { invalid } from "../../base/errors.ts";
import { ignorePatterns } from "../../base/ignore.ts";
import { MAX_DOCKERFILE } from "../../build/dockerfile/parse.ts";
import type { OpenContext } from "../../build/roots.ts";
import type { Builds } from "../../engine/build/builds.ts";
import { parseReference } from "../../images/reference.ts";
import type { RegistryAuth } from "../../registry/auth.ts";
import { AgentSockets } from "../build-agents.ts";
import { FileSync } from "./file-sync.ts";
import { agentChannel, credentialsOf, hasAgent, secretOf } from "./services.ts";
import { type Session, sessionOf } from "./sessions.ts";

const HUB = "https://index.docker.io/v1/";

/** Of the session with this id. */
export async function credentialsFor(id: string, reference: string, signal: AbortSignal) {
  return await credentialsIn(await sessionOf(id, signal), reference, signal);
}

async function credentialsIn(
  session: Session,
  reference: string,
  signal: AbortSignal,
): Promise<RegistryAuth | undefined> {
  const { domain } = parseReference(reference);
  return await credentialsOf(session, domain === "docker.io" ? HUB : domain, signal);
}

/** Names of the client's directories, as a session knows them. */
export interface Directories {
  readonly dockerfile: string;
  /** By the build's name of a context; the main one is `context`. */
  readonly contexts: ReadonlyMap<string, string>;
}

/** What the session's client has for one build. */
export class SessionClient {
  /** Of the Dockerfile's own ignore file. */
  #ignored: readonly string[] | undefined;
  readonly #agents: AgentSockets;

  constructor(
    readonly session: Session,
    private readonly builds: Builds,
    private readonly dockerfileName: string,
    private readonly directories: Directories,
  ) {
    this.#agents = new AgentSockets(builds.sockets, (id) => agentChannel(session, id));
  }

  async dockerfile(signal: AbortSignal): Promise<{ text: string; name: string }> {
    const name = this.dockerfileName;
    const files = await this.#small(this.directories.dockerfile, [name, `${name}.dockerignore`], signal);
    const text = files.get(name);
    if (text === undefined) throw invalid(`failed to read dockerfile: open ${name}: no such file or directory`);
    const own = files.get(`${name}.dockerignore`);
    if (own !== undefined) this.#ignored = ignorePatterns(own);
    return { text, name };
  }

  async open(name: string, transferred: (bytes: number) => void, signal: AbortSignal): Promise<OpenContext> {
    const directory = this.directories.contexts.get(name);
    if (directory === undefined) throw invalid(`there is no build context ${name.slice(0, 200)}`);
    const own = name === "context" ? this.#ignored : undefined;
    const exclude =
      own ?? ignorePatterns((await this.#small(directory, [".dockerignore"], signal)).get(".dockerignore") ?? "");
    const sync = await FileSync.open(this.session, { name: directory, exclude }, signal);
    try {
      const key = JSON.stringify([this.session.sharedKey || this.session.id, name]);
      const fetch = (entries: number[]) => counted(sync.fetch(entries), transferred);
      return await this.builds.contexts.sync(key, sync.listing(), fetch, signal);
    } finally {
      await sync.close();
    }
  }

  secret(id: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
    return secretOf(this.session, id, signal);
  }

  /** Path of a socket that leads to the client's agent; it goes when the client is closed. */
  async agent(id: string, signal: AbortSignal): Promise<string | undefined> {
    return (await hasAgent(this.session, id, signal)) ? await this.#agents.socket(id) : undefined;
  }

  /** For the registry of an image's whole name. */
  credentials(reference: string, signal: AbortSignal): Promise<RegistryAuth | undefined> {
    return credentialsIn(this.session, reference, signal);
  }

  close(): Promise<void> {
    return this.#agents.close();
  }

  /** Text files by their names, as far as they are there. */
  async #small(directory: string, names: string[], signal: AbortSignal): Promise<Map<string, string>> {
    const sync = await FileSync.open(this.session, { name: directory, include: names, follow: names }, signal);
    try {
      const found = new Map<string, string>();
      for (const name of names) {
        const file = sync.find(name);
        if (file) found.set(name, (await sync.read(file, MAX_DOCKERFILE)).toString());
      }
      return found;
    } finally {
      await sync.close();
    }
  }
}
