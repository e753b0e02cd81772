import { type Command, ExitError } from "../command.ts";
import { detachKeysFlag } from "../flags.ts";
import { runAttached } from "../start-attached.ts";
import { isTerminal } from "../terminal.ts";

export const command: Command = {
  usage: "[OPTIONS] CONTAINER",
  args: [1, 1],
  completes: "running",
  flags: [
    detachKeysFlag,
    { name: "no-stdin", type: "bool", help: "Do not send stdin" },
    { name: "sig-proxy", type: "bool", default: "true", help: "Pass signals on to the process" },
  ],
  examples: [["inro attach web", "See its output, type into it; ctrl-p ctrl-q leaves it running"]],
  async run({ options, args, engine }) {
    const api = engine();
    const { Id, Config, State, HostConfig } = await api.inspectContainer(args[0]!);
    if (!State.Running) throw new ExitError(1, "You cannot attach to a stopped container, start it first");
    if (State.Paused) throw new ExitError(1, "You cannot attach to a paused container, unpause it first");
    if (State.Restarting)
      throw new ExitError(1, "You cannot attach to a restarting container, wait until it is running");
    const stdin = !options.bool("no-stdin") && Config.OpenStdin === true;
    const tty = Config.Tty === true;
    if (tty && stdin && !isTerminal(0)) throw new ExitError(1, "the input device is not a TTY");
    return runAttached(api, {
      id: Id,
      tty,
      stdin,
      stdout: true,
      stderr: true,
      detachKeys: options.string("detach-keys"),
      sigProxy: !options.has("sig-proxy") || options.bool("sig-proxy"),
      autoRemove: HostConfig.AutoRemove === true,
      start: false,
      // Docker's; run and start end with 0 there.
      detached: 1,
    });
  },
};
