import { isStatus } from "../../client/api-error.ts";
import type { Engine } from "../../client/engine.ts";
import type { CreateRequest, CreateResponse } from "../../spec/docker-api.ts";
import { type Command, type Context, ExitError, StartError } from "../command.ts";
import { createBody } from "../create/body.ts";
import { runFlags } from "../create/flags.ts";
import { errorText } from "../error-text.ts";
import { BrokenPipe, stderr, stdout } from "../output.ts";

export const command: Command = {
  usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
  flags: runFlags,
  args: [1, Number.POSITIVE_INFINITY],
  interspersed: false,
  completes: "image",
  description: `
The image "host" is this machine's own root filesystem, with a private layer for changes.
Exit status: the command's own; 128+N after signal N; 125 when inro failed, 126 when the
command cannot be executed, 127 when it is not found.`,
  examples: [
    ["inro run --rm host ls /", "Run a command on a private copy of this machine"],
    ["inro run -it --rm alpine sh", "A shell in an image, removed afterwards"],
    ["inro run -d --name web -m 256m --cpus 0.5 nginx", "In the background, with limits"],
    ["inro run --rm -v ./src:/src:ro -w /src host make", "With a directory of this machine"],
  ],
  async run(context) {
    try {
      return await runContainer(context);
    } catch (error) {
      if (error instanceof ExitError || error instanceof BrokenPipe) throw error;
      const status = error instanceof StartError ? error.exitCode : 125;
      throw new ExitError(status, `inro: ${errorText(error)}\n\nRun 'inro run --help' for more information`);
    }
  },
};

async function runContainer({ options, args, engine }: Context): Promise<number> {
  const [image, ...words] = args as [string, ...string[]];
  const body = createBody(options, image, words);
  const tty = body.Tty === true;
  const detach = options.bool("detach");
  if (tty) {
    const { isTerminal, terminalSize } = await import("../terminal.ts");
    if (body.AttachStdin && !isTerminal(0)) throw new ExitError(1, "the input device is not a TTY");
    const size = isTerminal(1) ? terminalSize() : undefined;
    if (size) body.HostConfig!.ConsoleSize = [size.h, size.w];
  }
  const api = engine();
  const detachKeys = options.string("detach-keys");
  const sigProxy = !options.has("sig-proxy") || options.bool("sig-proxy");
  const session = {
    tty,
    stdin: body.AttachStdin === true,
    output: body.AttachStdout === true || body.AttachStderr === true,
    detachKeys,
    sigProxy,
  };
  // A --cidfile is to be written before the start, so there the requests stay apart.
  let inOne = !detach && options.string("cidfile") === "";
  const made = await withImage(api, options, body, async (query) => {
    const running = inOne && (await api.runContainer(body, { ...query, detachKeys: detachKeys || undefined }));
    inOne = running !== undefined && running !== false;
    return running || (await api.createContainer(body, query));
  });
  // Loaded only now: the engine has its work meanwhile.
  const { runAttached, runStarted, startError } = await import("../start-attached.ts");
  if (!("Id" in made)) return await runStarted(api, made, session);
  await afterCreate(options, made);
  const id = made.Id;
  if (detach) {
    try {
      await api.startContainer(id, { detachKeys: detachKeys || undefined });
    } catch (error) {
      throw await startError(api, id, error);
    }
    await stdout.line(id);
    return 0;
  }
  return runAttached(api, {
    ...session,
    id,
    stdout: body.AttachStdout === true,
    stderr: body.AttachStderr === true,
    autoRemove: options.bool("rm"),
    start: true,
  });
}

/**
 * Creates a container, pulling its image first where --pull wants that or the engine has none. Warnings go to stderr,
 * the id into --cidfile. Gives the id.
 */
export async function createContainer(
  engine: Engine,
  options: Context["options"],
  body: CreateRequest,
): Promise<string> {
  const created = await withImage(engine, options, body, (query) => engine.createContainer(body, query));
  await afterCreate(options, created);
  return created.Id;
}

type CreateQuery = { name: string | undefined; platform: string | undefined };

/** Does `create`, pulling the image first where --pull wants that or the engine has none. */
async function withImage<T>(
  engine: Engine,
  options: Context["options"],
  body: CreateRequest,
  create: (query: CreateQuery) => Promise<T>,
): Promise<T> {
  const policy = options.string("pull") || "missing";
  if (!["always", "missing", "never"].includes(policy)) {
    throw new ExitError(125, `invalid pull option: '${policy}': must be one of "always", "missing" or "never"`);
  }
  const platform = options.string("platform") || process.env.DOCKER_DEFAULT_PLATFORM || undefined;
  const cidfile = options.string("cidfile");
  if (cidfile !== "") await (await import("../cidfile.ts")).refuseExisting(cidfile);
  const pull = async () => {
    try {
      await (await import("../pull.ts")).pullImage(engine, body.Image!, platform, options.bool("quiet"), stderr);
    } catch (error) {
      // The status of a failed pull is the command's own: 125 for run, 1 for create.
      throw error instanceof ExitError ? new Error(error.message) : error;
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

async function afterCreate(options: Context["options"], created: CreateResponse): Promise<void> {
  const cidfile = options.string("cidfile");
  for (const warning of created.Warnings ?? []) await stderr.line(`WARNING: ${warning}`);
  if (cidfile !== "") await (await import("../cidfile.ts")).writeId(cidfile, created.Id);
}

/** `alpine` as `alpine:latest`; a tag or digest stays. */
export function withTag(image: string): string {
  const last = image.slice(image.lastIndexOf("/") + 1);
  return last.includes(":") || last.includes("@") ? image : `${image}:latest`;
}
