import { type Command, type Context, ExitError, StartError } from "../command.ts";
import { bodyOf, createContainer, failure, withImage } from "../create/container.ts";
import { runFlags } from "../create/flags.ts";
import { errorText } from "../error-text.ts";
import { BrokenPipe, stdout } from "../output.ts";

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
      throw new ExitError(status, failure(errorText(error), "run"));
    }
  },
};

const APART = ["cidfile", "use-api-socket", "pull"];

async function runContainer(context: Context): Promise<number> {
  const { options, engine } = context;
  const body = bodyOf(context, "run");
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
  // One request, unless something is to be done before the start; an engine that does not know it gets several.
  const inOne = !detach && !APART.some((flag) => options.has(flag));
  const running = inOne
    ? await withImage(api, options, body, (query) =>
        api.runContainer(body, { ...query, detachKeys: detachKeys || undefined }),
      )
    : undefined;
  // Loaded only now: the engine has its work meanwhile.
  const attached = import("../start-attached.ts");
  if (running) return (await attached).runStarted(api, running, session);
  const { Id: id } = await createContainer(api, options, body);
  const { runAttached, startError } = await attached;
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
    detached: 0,
  });
}
