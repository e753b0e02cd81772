import { isStatus } from "../../client/api-error.ts";
import type { ExecCreateRequest } from "../../spec/docker-api.ts";
import { type Command, ExitError } from "../command.ts";
import { environment, parseEnv } from "../create/environment.ts";
import { errorText } from "../error-text.ts";
import { detachKeysFlag } from "../flags.ts";
import { stderr } from "../output.ts";
import { carryStreams } from "../session.ts";
import { endingSignal } from "../signals.ts";
import { followSize } from "../start-attached.ts";
import { isTerminal, terminalSize } from "../terminal.ts";

export const command: Command = {
  usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
  args: [2, Number.POSITIVE_INFINITY],
  interspersed: false,
  completes: "running",
  flags: [
    { name: "detach", short: "d", type: "bool", help: "Run in the background" },
    detachKeysFlag,
    { name: "env", short: "e", type: "list", parse: parseEnv, help: "Set a variable (NAME=VALUE, or NAME from here)" },
    { name: "env-file", type: "list", help: "Read variables from a file" },
    { name: "interactive", short: "i", type: "bool", help: "Keep stdin open" },
    { name: "privileged", type: "bool", help: "All capabilities" },
    { name: "tty", short: "t", type: "bool", help: "Give it a terminal" },
    { name: "user", short: "u", type: "string", help: "User (name|uid[:group|gid])" },
    { name: "workdir", short: "w", type: "string", help: "Working directory" },
  ],
  description: "Exit status: the command's own; 126 when it cannot be executed, 127 when it is not found.",
  examples: [
    ["inro exec -it web sh", "A shell in a running container"],
    ["inro exec -e DEBUG=1 -w /srv web ls -l", "With a variable, in a directory"],
    ["tar c . | inro exec -i web tar x -C /srv", "Through stdin"],
  ],
  async run({ options, args, engine }) {
    const [id, ...words] = args as [string, ...string[]];
    const detach = options.bool("detach");
    const tty = options.bool("tty");
    const stdin = options.bool("interactive") && !detach;
    if (tty && stdin && !isTerminal(0)) throw new ExitError(1, "the input device is not a TTY");
    const size = tty && isTerminal(1) ? terminalSize() : undefined;
    const consoleSize: { ConsoleSize?: [number, number] } = size ? { ConsoleSize: [size.h, size.w] } : {};
    const keys = options.string("detach-keys");
    const body: ExecCreateRequest = {
      Cmd: words,
      Tty: tty,
      AttachStdin: stdin,
      AttachStdout: !detach,
      AttachStderr: !detach,
      Env: environment(options.list("env-file"), options.list("env")),
      ...(options.bool("privileged") ? { Privileged: true } : {}),
      ...(options.has("user") ? { User: options.string("user") } : {}),
      ...(options.has("workdir") ? { WorkingDir: options.string("workdir") } : {}),
      ...(keys ? { DetachKeys: keys } : {}),
      ...consoleSize,
    };
    const api = engine();
    const exec = await api.createExec(id, body);
    if (detach) {
      await api.startExecDetached(exec, { Tty: tty });
      return 0;
    }
    const ending = endingSignal();
    let stopSize: (() => void) | undefined;
    try {
      const connection = await api.startExec(exec, { Tty: tty, ...consoleSize });
      if (tty) stopSize = followSize((now) => api.resizeExec(exec, now));
      const session = carryStreams(connection, { tty, stdin, detachKeys: keys });
      const outcome = await Promise.race([session, ending.status]);
      if (typeof outcome === "number") return outcome;
      if (outcome === "detached") {
        await stderr.write("read escape sequence\r\n");
        return 1;
      }
      return (await api.inspectExec(exec)).ExitCode ?? 0;
    } catch (error) {
      if (!isStatus(error, 400)) throw error;
      const { ExitCode } = await api.inspectExec(exec);
      throw new ExitError(ExitCode || 126, errorText(error));
    } finally {
      ending.stop();
      stopSize?.();
    }
  },
};
