import type { Flag, Options } from "./flags.ts";

/** How a container is stopped: the flags of stop and restart. */
export const stopFlags: readonly Flag[] = [
  { name: "signal", short: "s", type: "string", help: "Signal to send (default: the container's, SIGTERM)" },
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
