import type { Command } from "../command.ts";
import { durationFlag } from "../create/health.ts";
import { LIMITS, type Limits, limitFlags, setFields } from "../create/limits.ts";
import { parseRestartPolicy, restartFlag } from "../create/restart.ts";
import { forEachName, MANY } from "../each.ts";
import type { Options } from "../flags.ts";
import { stderr } from "../output.ts";

export const command: Command = {
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  args: [1, MANY],
  completes: "container",
  flags: [
    ...limitFlags,
    restartFlag,
    { name: "restart-on-unhealthy", type: "bool", help: "Restart it when its health check finds it unhealthy" },
    { name: "ttl", ...durationFlag, help: "Stop it so long after now; 0 never" },
    { name: "idle-ttl", ...durationFlag, help: "Stop it when nobody has used it for so long; 0 never" },
  ],
  examples: [
    ["inro update -m 512m --cpus 1.5 web", "Other limits for what runs"],
    ["inro update --restart unless-stopped web", "From now on it is restarted when it ends"],
    ["inro update --ttl 1h web", "One more hour from now"],
    ["inro update --restart no web", "Let it end, and do not start it again"],
  ],
  async run({ options, args, engine }) {
    const api = engine();
    const changes = updateBody(options);
    return forEachName(args, async (name) => {
      for (const warning of await api.updateContainer(name, changes)) await stderr.line(warning);
    });
  },
};

/** The body of POST /containers/{id}/update: what was said, and nothing else. */
function updateBody(options: Options): Limits {
  const body: Limits = {};
  setFields(options, body, { ...LIMITS, TTL: "ttl", IdleTTL: "idle-ttl" });
  if (options.has("restart")) body.RestartPolicy = parseRestartPolicy(options.string("restart"));
  if (options.has("restart-on-unhealthy")) body.RestartOnUnhealthy = options.bool("restart-on-unhealthy");
  return body;
}
