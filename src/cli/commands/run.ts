import { isStatus } from "../../client/api-error.ts";
import type { Engine } from "../../client/engine.ts";
import type { CreateRequest } from "../../spec/docker-api.ts";
import { type Command, type Context, ExitError } from "../command.ts";
import { createBody } from "../create/body.ts";
import { runFlags } from "../create/flags.ts";
import { errorText } from "../error-text.ts";
import { BrokenPipe, stderr, stdout } from "../output.ts";
import { runAttached, StartError, startError } from "../start-attached.ts";
import { isTerminal, terminalSize } from "../terminal.ts";

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
  if (tty && body.AttachStdin && !isTerminal(0)) throw new ExitError(1, "the input device is not a TTY");
  if (tty && isTerminal(1)) {
    const size = terminalSize();
    if (size) body.HostConfig!.ConsoleSize = [size.h, size.w];
  }
  const api = engine();
  const id = await createContainer(api, options, body);
  const detachKeys = options.string("detach-keys");
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
    id,
    tty,
    stdin: body.AttachStdin === true,
    stdout: body.AttachStdout === true,
    stderr: body.AttachStderr === true,
    output: body.AttachStdout === true || body.AttachStderr === true,
    detachKeys,
    sigProxy: !options.has("sig-proxy") || options.bool("sig-proxy"),
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
  const create = () => engine.createContainer(body, { name: options.string("name") || undefined, platform });

  if (policy === "always") await pull();
  const created = await create().catch(async (error: unknown) => {
    if (!isStatus(error, 404) || policy !== "missing" || !/no such image/i.test(error.message)) throw error;
    if (!options.bool("quiet")) await stderr.line(`Unable to find image '${withTag(body.Image!)}' locally`);
    await pull();
    return create();
  });
  for (const warning of created.Warnings ?? []) await stderr.line(`WARNING: ${warning}`);
  if (cidfile !== "") await (await import("../cidfile.ts")).writeId(cidfile, created.Id);
  return created.Id;
}

/** `alpine` as `alpine:latest`; a tag or digest stays. */
export function withTag(image: string): string {
  const last = image.slice(image.lastIndexOf("/") + 1);
  return last.includes(":") || last.includes("@") ? image : `${image}:latest`;
}
