import { ApiError, isStatus } from "../../client/api-error.ts";
import type { Engine } from "../../client/engine.ts";
import type { CreateRequest, CreateResponse } from "../../spec/docker-api.ts";
import { type Context, ExitError } from "../command.ts";
import { withProxies } from "../config-file.ts";
import { stderr } from "../output.ts";
import { createBody } from "./body.ts";

type Options = Context["options"];
export type CreateQuery = { name: string | undefined; platform: string | undefined };

/** The body that the options and arguments of `verb` (create, run) ask for; wrong ones are an ExitError 125. */
export function bodyOf({ options, args, config, engine }: Context, verb: string): CreateRequest {
  const [image, ...words] = args as [string, ...string[]];
  try {
    const body = createBody(options, image, words);
    if (config.proxies) body.Env = withProxies(body.Env ?? [], config, engine().transport.endpoint.url);
    return body;
  } catch (error) {
    if (!(error instanceof ExitError) || error.exitCode !== 125) throw error;
    throw new ExitError(125, failure(error.message, verb));
  }
}

/** How `create` and `run` print what went wrong. */
export const failure = (message: string, verb: string) =>
  `inro: ${message}\n\nRun 'inro ${verb} --help' for more information`;

/** Creates a container, pulling its image where it must. Warnings go to stderr, the id into --cidfile. */
export function createContainer(engine: Engine, options: Options, body: CreateRequest): Promise<CreateResponse> {
  if (options.bool("use-api-socket")) mountSocket(engine, body);
  const create = async (written?: (id: string) => void): Promise<CreateResponse> => {
    const created = await withImage(engine, options, body, (query) => engine.createContainer(body, query));
    written?.(created.Id);
    for (const warning of created.Warnings ?? []) await stderr.line(`WARNING: ${warning}`);
    return created;
  };
  const path = options.string("cidfile");
  return path === "" ? create() : import("../cidfile.ts").then(({ withCidFile }) => withCidFile(path, create));
}

/** Does `create`, pulling the image first where --pull wants that or the engine has none. */
export async function withImage<T>(
  engine: Engine,
  options: Options,
  body: CreateRequest,
  create: (query: CreateQuery) => Promise<T>,
): Promise<T> {
  const policy = options.string("pull") || "missing";
  const platform = options.string("platform") || process.env.DOCKER_DEFAULT_PLATFORM || undefined;
  const pull = async () => {
    const { pullImage, splitReference } = await import("../pull.ts");
    try {
      await pullImage(engine, { ...splitReference(body.Image!), platform }, options.bool("quiet"), stderr);
    } catch (error) {
      // The status of a failed pull is the command's own: 125 for run, 1 for create; the words are the engine's.
      throw error instanceof ExitError ? new ApiError(500, error.message) : error;
    }
  };
  const query = { name: options.string("name") || undefined, platform };

  if (policy === "always") await pull();
  return await create(query).catch(async (error: unknown) => {
    if (!isStatus(error, 404) || policy !== "missing" || !/no such image/i.test(error.message)) throw error;
    if (!options.bool("quiet")) await stderr.line(`Unable to find image '${withTag(body.Image!)}' locally`);
    await pull();
    return create(query);
  });
}

/** The socket that the engine is reached by, as the container's own way to it. */
function mountSocket(engine: Engine, body: CreateRequest): void {
  const { endpoint } = engine.transport;
  if (endpoint.kind !== "unix") throw new ExitError(1, "flag --use-api-socket needs an engine on a unix socket");
  const socket = { Type: "bind" as const, Source: endpoint.path, Target: "/var/run/docker.sock" };
  body.HostConfig!.Mounts = [...(body.HostConfig!.Mounts ?? []), socket];
}

/** `alpine` as `alpine:latest`; a tag or digest stays. */
function withTag(image: string): string {
  const last = image.slice(image.lastIndexOf("/") + 1);
  return last.includes(":") || last.includes("@") ? image : `${image}:latest`;
}
