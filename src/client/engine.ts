import type { DebugRequest } from "../spec/debug.ts";
import type {
  Change,
  ContainerInspect,
  ContainerStats,
  ContainerSummary,
  CreateRequest,
  CreateResponse,
  EndpointSettings,
  EventMessage,
  ExecCreateRequest,
  ExecInspect,
  HistoryEntry,
  HostConfig,
  ImageInspect,
  ImageSummary,
  NetworkCreateRequest,
  NetworkInspect,
  PathStat,
  StreamMessage,
  Volume,
  VolumePruneResponse,
  WaitResponse,
} from "../spec/docker-api.ts";
import type { ImageFilesLine } from "../spec/image-files.ts";
import { ApiError } from "./api-error.ts";
import type { Endpoint } from "./endpoint.ts";
import { resolveEndpoint } from "./endpoint.ts";
import { jsonStream } from "./json-stream.ts";
import { type Hijacked, type QueryValue, type Request, type Response, Transport } from "./transport.ts";

/** Filters of list requests: values of one key are OR-ed, keys AND-ed. */
export type Filters = Record<string, string[]>;

export interface AttachOptions {
  stdin?: boolean;
  stdout?: boolean;
  stderr?: boolean;
  /** Replay what was written before. */
  logs?: boolean;
  detachKeys?: string | undefined;
}

export interface LogOptions {
  follow?: boolean;
  stdout?: boolean;
  stderr?: boolean;
  since?: string | undefined;
  until?: string | undefined;
  timestamps?: boolean;
  tail?: string | undefined;
  details?: boolean;
}

/**
 * The Engine API, one method a request. Names and ids go into the path encoded; objects are the API's own. A status of
 * 400 or above is an ApiError; an engine that cannot be reached is an InroError `unavailable`.
 *
 *     const engine = new Engine();
 *     const { Id } = await engine.createContainer({ Image: "host", Cmd: ["true"] });
 */
export class Engine {
  readonly transport: Transport;
  readonly #credentials: ((image: string) => Promise<string | undefined>) | undefined;

  constructor(
    options: {
      endpoint?: Endpoint;
      onUnreachable?: (error: unknown) => Promise<boolean>;
      version?: string | undefined;
      /** The X-Registry-Auth of an image's registry, asked before each pull. */
      credentials?: (image: string) => Promise<string | undefined>;
      headers?: Record<string, string>;
    } = {},
  ) {
    this.#credentials = options.credentials;
    this.transport = new Transport(options.endpoint ?? resolveEndpoint(), {
      onUnreachable: options.onUnreachable,
      version: options.version,
      headers: { "User-Agent": "inro", ...options.headers },
    });
  }

  /** Closes idle connections; streams that are being read stay. */
  close(): void {
    this.transport.close();
  }

  /** Any request whose answer is JSON. */
  async json<T>(method: string, path: string, request: Omit<Request, "method" | "path"> = {}): Promise<T> {
    return (await this.transport.request({ method, path, ...request })).json<T>();
  }

  /** Any request whose answer is of no interest; resolves with its status (304 is not an error). */
  async send(method: string, path: string, request: Omit<Request, "method" | "path"> = {}): Promise<number> {
    const response = await this.transport.request({ method, path, ...request });
    await response.text();
    return response.status;
  }

  ping(): Promise<Response> {
    return this.transport.request({ method: "GET", path: "/_ping" });
  }
  version<T = Record<string, unknown>>(): Promise<T> {
    return this.json("GET", "/version");
  }
  info<T = Record<string, unknown>>(): Promise<T> {
    return this.json("GET", "/info");
  }

  /** Resolves when the engine listens; `close` ends the stream. Times in the API's notation. */
  async events(
    query: { since?: string | undefined; until?: string | undefined; filters?: Filters } = {},
  ): Promise<{ events: AsyncGenerator<EventMessage>; close(): void }> {
    const response = await this.transport.request({
      method: "GET",
      path: "/events",
      query: { ...query, filters: filterText(query.filters) },
    });
    return { events: jsonStream<EventMessage>(response.body), close: () => response.close() };
  }

  listContainers(
    query: { all?: boolean; limit?: number | undefined; size?: boolean; filters?: Filters } = {},
  ): Promise<ContainerSummary[]> {
    return this.json("GET", "/containers/json", { query: { ...query, filters: filterText(query.filters) } });
  }
  createContainer(
    body: CreateRequest,
    query: { name?: string | undefined; platform?: string | undefined } = {},
  ): Promise<CreateResponse> {
    return this.json("POST", "/containers/create", { query, json: body });
  }
  inspectContainer(id: string, query: { size?: boolean } = {}): Promise<ContainerInspect> {
    return this.json("GET", container(id, "/json"), { query });
  }
  startContainer(id: string, query: { detachKeys?: string | undefined } = {}): Promise<number> {
    return this.send("POST", container(id, "/start"), { query });
  }
  stopContainer(id: string, query: { t?: number | undefined; signal?: string | undefined } = {}): Promise<number> {
    return this.send("POST", container(id, "/stop"), { query });
  }
  restartContainer(id: string, query: { t?: number | undefined; signal?: string | undefined } = {}): Promise<number> {
    return this.send("POST", container(id, "/restart"), { query });
  }
  killContainer(id: string, signal?: string): Promise<number> {
    return this.send("POST", container(id, "/kill"), { query: { signal } });
  }
  pauseContainer(id: string): Promise<number> {
    return this.send("POST", container(id, "/pause"));
  }
  unpauseContainer(id: string): Promise<number> {
    return this.send("POST", container(id, "/unpause"));
  }
  renameContainer(id: string, name: string): Promise<number> {
    return this.send("POST", container(id, "/rename"), { query: { name } });
  }
  removeContainer(id: string, query: { force?: boolean; v?: boolean; link?: boolean } = {}): Promise<number> {
    return this.send("DELETE", container(id), { query });
  }
  /** Resolves with the engine's warnings. */
  async updateContainer(id: string, body: HostConfig): Promise<string[]> {
    const path = container(id, "/update");
    return (await this.json<{ Warnings?: string[] | null }>("POST", path, { json: body })).Warnings ?? [];
  }
  topContainer(id: string, psArgs?: string): Promise<{ Titles: string[]; Processes: string[][] }> {
    return this.json("GET", container(id, "/top"), { query: { ps_args: psArgs } });
  }
  /** One reading, and another a second before it. */
  containerStats(id: string): Promise<ContainerStats> {
    return this.json("GET", container(id, "/stats"), { query: { stream: false } });
  }
  /** A reading a second; `close` ends the stream. */
  async followStats(id: string): Promise<{ readings: AsyncGenerator<ContainerStats>; close(): void }> {
    const response = await this.transport.request({ method: "GET", path: container(id, "/stats") });
    return { readings: jsonStream<ContainerStats>(response.body), close: () => response.close() };
  }
  changes(id: string): Promise<Change[] | null> {
    return this.json("GET", container(id, "/changes"));
  }
  resizeContainer(id: string, size: { h: number; w: number }): Promise<number> {
    return this.send("POST", container(id, "/resize"), { query: size });
  }

  /** Resolves when the engine waits; `result` then resolves when the condition is met. */
  async waitContainer(
    id: string,
    condition: "not-running" | "next-exit" | "removed" = "not-running",
  ): Promise<{ result: Promise<WaitResponse> }> {
    const response = await this.transport.request({
      method: "POST",
      path: container(id, "/wait"),
      query: { condition },
    });
    const result = response.json<WaitResponse>();
    // The caller may look at it much later, or never.
    result.catch(() => {});
    return { result };
  }

  attachContainer(id: string, options: AttachOptions): Promise<Hijacked> {
    return this.transport.hijack({
      method: "POST",
      path: container(id, "/attach"),
      query: { stream: true, ...(options as Record<string, QueryValue>) },
    });
  }
  /**
   * Creates, attaches, waits and starts in one request; {@link file://./run-stream.ts} reads the connection. undefined
   * when the engine does not know it: any other than inro.
   */
  async runContainer(
    body: CreateRequest,
    query: { name?: string | undefined; platform?: string | undefined; detachKeys?: string | undefined } = {},
  ): Promise<Hijacked | undefined> {
    try {
      return await this.transport.hijack({ method: "POST", path: "/inro/run", query, json: body }, "inro");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const known = error.server.startsWith("inro/") && error.message !== "page not found";
      if (known) throw error;
      return undefined;
    }
  }
  /** inro's own build (src/spec/build-stream.ts); `body` is a BuildBody. */
  build(body: Record<string, unknown>): Promise<Hijacked> {
    return this.transport.hijack({ method: "POST", path: "/inro/build", json: body }, "inro");
  }
  /** Framed unless the container has a tty. */
  async logs(id: string, options: LogOptions): Promise<Response> {
    return this.transport.request({
      method: "GET",
      path: container(id, "/logs"),
      query: options as Record<string, QueryValue>,
    });
  }

  /** What is at a path of a container. */
  async statArchive(id: string, path: string): Promise<PathStat> {
    return pathStat(await this.transport.request({ method: "HEAD", path: container(id, "/archive"), query: { path } }));
  }
  /** A tar of a file or directory in a container, and what it is. */
  async getArchive(id: string, path: string): Promise<{ stat: PathStat; response: Response }> {
    const response = await this.transport.request({ method: "GET", path: container(id, "/archive"), query: { path } });
    return { stat: pathStat(response), response };
  }
  /** Extracts a tar into a directory of a container. */
  putArchive(
    id: string,
    query: { path: string; noOverwriteDirNonDir?: boolean; copyUIDGID?: boolean },
    stream: AsyncIterable<Uint8Array>,
  ): Promise<number> {
    return this.send("PUT", container(id, "/archive"), {
      query,
      stream,
      headers: { "Content-Type": "application/x-tar" },
    });
  }

  /** All files of a container, without its volumes, as a tar. */
  exportContainer(id: string): Promise<Response> {
    return this.transport.request({ method: "GET", path: container(id, "/export") });
  }
  /** Makes an image of a container; answers its id. */
  async commitContainer(query: {
    container: string;
    repo?: string;
    tag?: string;
    comment?: string;
    author?: string;
    pause?: boolean;
    changes?: string[];
  }): Promise<string> {
    return (await this.json<{ Id: string }>("POST", "/commit", { query, json: null })).Id;
  }

  /** Prepares a shell with tools in a container; answers an exec's id, to be started. */
  async createDebug(body: DebugRequest): Promise<string> {
    return (await this.json<{ Id: string }>("POST", "/inro/debug", { json: body })).Id;
  }

  async createExec(id: string, body: ExecCreateRequest): Promise<string> {
    return (await this.json<{ Id: string }>("POST", container(id, "/exec"), { json: body })).Id;
  }
  /** Runs it and gives its streams. */
  startExec(id: string, body: { Tty?: boolean; ConsoleSize?: [number, number] }): Promise<Hijacked> {
    return this.transport.hijack({ method: "POST", path: `/exec/${part(id)}/start`, json: { Detach: false, ...body } });
  }
  startExecDetached(id: string, body: { Tty?: boolean }): Promise<number> {
    return this.send("POST", `/exec/${part(id)}/start`, { json: { Detach: true, ...body } });
  }
  inspectExec(id: string): Promise<ExecInspect> {
    return this.json("GET", `/exec/${part(id)}/json`);
  }
  resizeExec(id: string, size: { h: number; w: number }): Promise<number> {
    return this.send("POST", `/exec/${part(id)}/resize`, { query: size });
  }

  listImages(
    query: { all?: boolean; digests?: boolean; manifests?: boolean; filters?: Filters } = {},
  ): Promise<ImageSummary[]> {
    return this.json("GET", "/images/json", { query: { ...query, filters: filterText(query.filters) } });
  }
  inspectImage(name: string, query: { platform?: string | undefined } = {}): Promise<ImageInspect> {
    return this.json("GET", `/images/${imagePath(name)}/json`, { query });
  }
  /** What is in an image's layers, base first; with `digests`, the contents' too. Of inro's engine only. */
  async *imageFiles(name: string, query: { digests?: boolean } = {}): AsyncGenerator<ImageFilesLine> {
    const path = `/inro/images/${imagePath(name)}/files`;
    const response = await this.transport.request({ method: "GET", path, query });
    yield* jsonStream<ImageFilesLine>(response.body);
  }
  /** Its bill of materials, or the packages as they were found. Of inro's engine only. */
  imageSbom<T>(name: string, format: "spdx" | "cyclonedx" | "packages"): Promise<T> {
    return this.json("GET", `/inro/images/${imagePath(name)}/sbom`, { query: { format } });
  }
  /** Attaches one to the image at its registry. Of inro's engine only. */
  async attachSbom(name: string, format: "spdx" | "cyclonedx"): Promise<{ digest: string }> {
    const auth = await this.registryAuth(name);
    return await this.json("POST", `/inro/images/${imagePath(name)}/sbom`, {
      query: { format },
      headers: auth ? { "X-Registry-Auth": auth } : {},
    });
  }
  imageHistory(name: string, query: { platform?: string | undefined } = {}): Promise<HistoryEntry[]> {
    const [os, architecture, variant] = query.platform?.split("/") ?? [];
    const platform = os ? JSON.stringify({ os, architecture, variant }) : undefined;
    return this.json("GET", `/images/${imagePath(name)}/history`, { query: { platform } });
  }
  tagImage(name: string, repo: string, tag: string): Promise<number> {
    return this.send("POST", `/images/${imagePath(name)}/tag`, { query: { repo, tag } });
  }
  removeImage(
    name: string,
    query: { force?: boolean; noprune?: boolean; platforms?: string[] } = {},
  ): Promise<{ Untagged?: string; Deleted?: string }[]> {
    return this.json("DELETE", `/images/${imagePath(name)}`, { query });
  }
  /** What an image's registry is shown; undefined: nothing. */
  async registryAuth(image: string): Promise<string | undefined> {
    return this.#credentials?.(image);
  }
  async *pullImage(
    query: { fromImage: string; tag?: string | undefined; platform?: string | undefined },
    given?: string,
  ): AsyncGenerator<StreamMessage> {
    const auth = given ?? (await this.registryAuth(query.fromImage));
    const response = await this.transport.request({
      method: "POST",
      path: "/images/create",
      query,
      headers: auth ? { "X-Registry-Auth": auth } : {},
    });
    yield* jsonStream<StreamMessage>(response.body);
  }
  /** `fromSrc` is "-" with a stream, or a URL that the engine fetches. */
  async *importImage(
    query: { fromSrc: string; repo?: string; tag?: string; message?: string; changes?: string[]; platform?: string },
    stream?: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<StreamMessage> {
    const response = await this.transport.request({
      method: "POST",
      path: "/images/create",
      query,
      ...(stream ? { stream, headers: { "Content-Type": "application/x-tar" } } : {}),
    });
    yield* jsonStream<StreamMessage>(response.body);
  }
  async *loadImages(
    stream: AsyncIterable<Uint8Array>,
    query: { quiet?: boolean; platform?: string[] } = {},
  ): AsyncGenerator<StreamMessage> {
    const response = await this.transport.request({
      method: "POST",
      path: "/images/load",
      query,
      stream,
      headers: { "Content-Type": "application/x-tar" },
    });
    yield* jsonStream<StreamMessage>(response.body);
  }
  listNetworks(filters?: Filters): Promise<NetworkInspect[]> {
    return this.json("GET", "/networks", { query: { filters: filterText(filters) } });
  }
  createNetwork(body: NetworkCreateRequest): Promise<{ Id: string; Warning: string }> {
    return this.json("POST", "/networks/create", { json: body });
  }
  inspectNetwork(name: string): Promise<NetworkInspect> {
    return this.json("GET", `/networks/${part(name)}`);
  }
  connectNetwork(name: string, body: { Container: string; EndpointConfig: EndpointSettings }): Promise<number> {
    return this.send("POST", `/networks/${part(name)}/connect`, { json: body });
  }
  disconnectNetwork(name: string, body: { Container: string; Force: boolean }): Promise<number> {
    return this.send("POST", `/networks/${part(name)}/disconnect`, { json: body });
  }
  removeNetwork(name: string): Promise<number> {
    return this.send("DELETE", `/networks/${part(name)}`);
  }
  pruneNetworks(filters?: Filters): Promise<{ NetworksDeleted: string[] | null }> {
    return this.json("POST", "/networks/prune", { query: { filters: filterText(filters) } });
  }
  async listVolumes(filters?: Filters): Promise<Volume[]> {
    const query = { filters: filterText(filters) };
    return (await this.json<{ Volumes: Volume[] | null }>("GET", "/volumes", { query })).Volumes ?? [];
  }
  createVolume(body: object): Promise<Volume> {
    return this.json("POST", "/volumes/create", { json: body });
  }
  inspectVolume(name: string): Promise<Volume> {
    return this.json("GET", `/volumes/${part(name)}`);
  }
  removeVolume(name: string, query: { force?: boolean } = {}): Promise<number> {
    return this.send("DELETE", `/volumes/${part(name)}`, { query });
  }
  /** The form of API 1.52: each part with its `Items`; of an older engine the older one. */
  diskUsage<T>(): Promise<T> {
    return this.json("GET", "/system/df", { query: { verbose: true } });
  }
  pruneContainers(filters?: Filters): Promise<{ ContainersDeleted: string[] | null; SpaceReclaimed: number }> {
    return this.json("POST", "/containers/prune", { query: { filters: filterText(filters) } });
  }
  pruneImages(filters?: Filters): Promise<{
    ImagesDeleted: { Untagged?: string; Deleted?: string }[] | null;
    SpaceReclaimed: number;
  }> {
    return this.json("POST", "/images/prune", { query: { filters: filterText(filters) } });
  }
  /** Inro's own: `snapshot`, `clone`, `rename` and `restore`. */
  changeVolume(name: string, action: string, body: object, query: { live?: boolean } = {}): Promise<Volume> {
    return this.json("POST", `/inro/volumes/${part(name)}/${action}`, { json: body, query });
  }
  pruneVolumes(filters?: Filters): Promise<VolumePruneResponse> {
    return this.json("POST", "/volumes/prune", { query: { filters: filterText(filters) } });
  }
  saveImages(names: string[], query: { platform?: string[] } = {}): Promise<Response> {
    return this.transport.request({ method: "GET", path: "/images/get", query: { names, ...query } });
  }
}

function pathStat({ headers }: Response): PathStat {
  const text = Buffer.from(headers.get("x-docker-container-path-stat") ?? "", "base64").toString();
  try {
    return JSON.parse(text) as PathStat;
  } catch {
    throw new Error("the engine's answer does not say what the path is");
  }
}

/** A name or id as one path segment. */
function part(text: string): string {
  return encodeURIComponent(text);
}

function container(id: string, rest = ""): string {
  return `/containers/${part(id)}${rest}`;
}

/** Slashes and colons of an image name stay readable; engines take both forms. */
function imagePath(name: string): string {
  return name.split("/").map(part).join("/").replaceAll("%3A", ":").replaceAll("%40", "@");
}

function filterText(filters: Filters | undefined): string | undefined {
  return filters && Object.keys(filters).length > 0 ? JSON.stringify(filters) : undefined;
}
