import type { Call } from "../call.ts";
import { forbidden } from "./container-fields.ts";
import type { Guard } from "./guard.ts";
import { body, filterByLabel, labelled, type Rule } from "./rule.ts";

const volume = (guard: Guard, call: Call) => guard.volume(call.params[0]!);

async function createVolume(guard: Guard, call: Call): Promise<void> {
  const request = await body(call);
  const { Driver, DriverOpts, ClusterVolumeSpec, Name } = request;
  if (Object.keys(DriverOpts ?? {}).length > 0 || ClusterVolumeSpec || (Driver && Driver !== "local")) {
    throw forbidden(guard.scope, "volume driver options");
  }
  request.Labels = guard.marked(request.Labels);
  if (typeof Name === "string" && guard.engine.volumes.has(Name)) guard.volume(Name);
}

export const volumeRules: Record<string, Rule> = {
  "GET /volumes": {
    sets: ["read-only", "volumes"],
    after: (guard, answer) => {
      const { Volumes, ...rest } = answer as { Volumes: unknown };
      return { Volumes: labelled(guard, Volumes), ...rest };
    },
  },
  "GET /volumes/*": { sets: ["read-only", "volumes"], before: volume },
  "POST /volumes/create": { sets: ["volumes"], before: createVolume },
  "DELETE /volumes/*": { sets: ["volumes"], before: volume },
  "POST /volumes/prune": { sets: ["prune"], before: filterByLabel },
};
