import type { DebugRequest } from "../../spec/debug.ts";
import { type Command, ExitError } from "../command.ts";
import { environment, parseEnv } from "../create/environment.ts";
import { stderr } from "../output.ts";
import { carryStreams } from "../session.ts";
import { endingSignal } from "../signals.ts";
import { followSize } from "../start-attached.ts";
import { isTerminal, terminalSize } from "../terminal.ts";

export const command: Command = {
  usage: "[OPTIONS] CONTAINER|IMAGE",
  args: [1, 1],
  completes: "container",
  flags: [
    { name: "command", short: "c", type: "string", help: "Run this in the shell, instead of asking for commands" },
    { name: "detach-keys", type: "string", default: "ctrl-p,ctrl-q", help: "Keys that detach from a terminal" },
    { name: "env", short: "e", type: "list", parse: parseEnv, help: "Set a variable (NAME=VALUE, or NAME from here)" },
    { name: "image", type: "string", default: "host", help: "Where the tools come from: an image, or this machine" },
    { name: "privileged", type: "bool", help: "All capabilities" },
    { name: "shell", type: "string", help: "A command of the tools (default: bash, else sh)" },
    { name: "user", short: "u", type: "string", default: "root", help: "User (name|uid[:group|gid])" },
    { name: "workdir", short: "w", type: "string", help: "Working directory" },
  ],
  description: `
A shell with tools in a container that has none: no shell, no ls, no libraries are needed in it.

  a running container   its files, processes, network and limits; what you change is changed
  a stopped one         its files, volumes read-only, no network; what you change is thrown away
  an image              as a container of it would begin; what you change is thrown away

Its / is the target's. The tools are this machine's own programs, or an image's (--image), mounted
read-only where nobody but this shell sees them, and first on the PATH. It may do what the container
may, and trace processes (CAP_SYS_PTRACE): strace -p 1 works.
Exit status: the shell's.`,
  examples: [
    ["inro debug web", "Look around in a running container"],
    ["inro debug -c 'ss -tlnp; ps aux' web", "One question"],
    ["inro debug --image alpine web", "With the tools of an image"],
    ["inro debug -c 'ls -lR /app' app:1", "What is in an image"],
  ],
  async run({ options, args, engine }) {
    const tty = isTerminal(0) && isTerminal(1) && !options.has("command");
    const keys = options.string("detach-keys");
    const one = (flag: string, name: keyof DebugRequest) => (options.has(flag) ? { [name]: options.string(flag) } : {});
    const api = engine();
    const exec = await api.createDebug({
      Target: args[0]!,
      Tty: tty,
      AttachStdin: true,
      Env: [...(tty && process.env.TERM ? [`TERM=${process.env.TERM}`] : []), ...environment([], options.list("env"))],
      ...(options.bool("privileged") ? { Privileged: true } : {}),
      ...(keys ? { DetachKeys: keys } : {}),
      ...one("command", "Command"),
      ...one("image", "Image"),
      ...one("shell", "Shell"),
      ...one("user", "User"),
      ...one("workdir", "WorkingDir"),
    });
    const ending = endingSignal();
    let stopSize: (() => void) | undefined;
    try {
      const size = tty ? terminalSize() : undefined;
      const consoleSize: { ConsoleSize?: [number, number] } = size ? { ConsoleSize: [size.h, size.w] } : {};
      const connection = await api.startExec(exec, { Tty: tty, ...consoleSize });
      if (tty) stopSize = followSize((now) => api.resizeExec(exec, now));
      const session = carryStreams(connection, { tty, stdin: true, detachKeys: keys });
      const outcome = await Promise.race([session, ending.status]);
      if (typeof outcome === "number") return outcome;
      if (outcome === "detached") {
        await stderr.write("read escape sequence\r\n");
        return 0;
      }
      const { ExitCode } = await api.inspectExec(exec);
      if (ExitCode === null) throw new ExitError(1, "the shell has not ended");
      return ExitCode;
    } finally {
      ending.stop();
      stopSize?.();
    }
  },
};
