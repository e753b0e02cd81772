import type { Flag, Options } from "./flags.ts";

/** Those that end a process, or that it may listen to. */
export const SIGNALS = ["HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "STOP", "CONT", "WINCH"].map(
  (name) => `SIG${name}`,
);

/** How a container is stopped: the flags of stop and restart. */
export const stopFlags: readonly Flag[] = [
  {
    name: "signal",
    short: "s",
    type: "string",
    choices: SIGNALS,
    help: "Signal to send (default: the container's, SIGTERM)",
  },
  {
    name: "timeout",
    aliases: ["time"],
    short: "t",
    type: "int",
    help: "Seconds to wait before killing; -1 waits forever",
  },
];

/** They as the API's query. */
export function stopQuery(options: Options): { t: number | undefined; signal: string | undefined } {
  return { t: options.number("timeout"), signal: options.string("signal") || undefined };
}
