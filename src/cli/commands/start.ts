import { type Command, ExitError, StartError } from "../command.ts";
import { forEachName, MANY } from "../each.ts";
import { errorText } from "../error-text.ts";
import { detachKeysFlag } from "../flags.ts";
import { stderr } from "../output.ts";
import { runAttached } from "../start-attached.ts";
import { isTerminal } from "../terminal.ts";

export const command: Command = {
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  args: [1, MANY],
  completes: "container",
  flags: [
    { name: "attach", short: "a", type: "bool", help: "Show its output, pass signals on, give its exit status" },
    { name: "checkpoint", type: "string", hidden: true, help: "" },
    { name: "checkpoint-dir", type: "string", hidden: true, help: "" },
    detachKeysFlag,
    { name: "interactive", short: "i", type: "bool", help: "Send stdin" },
    { name: "sig-proxy", type: "bool", default: "true", help: "Pass signals on", hidden: true },
  ],
  examples: [
    ["inro start web", "Start it in the background"],
    ["inro start -ai work", "Go on in a stopped shell"],
  ],
  async run({ options, args, engine }) {
    const api = engine();
    if (options.has("checkpoint") || options.has("checkpoint-dir")) {
      throw new ExitError(1, "checkpoints of containers are not supported: inro-runtime has checkpoint and restore");
    }
    const interactive = options.bool("interactive");
    if (!options.bool("attach") && !interactive) {
      const failed: string[] = [];
      const status = await forEachName(args, (name) => api.startContainer(name), {
        describe: (error, name) => {
          failed.push(name);
          return errorText(error);
        },
      });
      if (failed.length > 0) await stderr.line(`Error: failed to start containers: ${failed.join(", ")}`);
      return status;
    }
    if (args.length > 1) throw new ExitError(1, "you cannot start and attach multiple containers at once");
    const container = await api.inspectContainer(args[0]!);
    const tty = container.Config.Tty === true;
    const stdin = interactive && container.Config.OpenStdin === true;
    if (tty && stdin && !isTerminal(0)) throw new ExitError(1, "the input device is not a TTY");
    try {
      return await runAttached(api, {
        id: container.Id,
        tty,
        stdin,
        stdout: true,
        stderr: true,
        detachKeys: options.string("detach-keys"),
        sigProxy: !options.has("sig-proxy") || options.bool("sig-proxy"),
        autoRemove: container.HostConfig.AutoRemove === true,
        start: true,
        detached: 0,
      });
    } catch (error) {
      if (error instanceof StartError) throw new ExitError(1, error.message);
      throw error;
    }
  },
};
