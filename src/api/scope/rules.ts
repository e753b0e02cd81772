import { forbidden } from "./container-fields.ts";
import { containerRules } from "./container-rules.ts";
import type { Guard } from "./guard.ts";
import { imageRules } from "./image-rules.ts";
import { networkRules } from "./network-rules.ts";
import type { Json, Rule } from "./rule.ts";
import { volumeRules } from "./volume-rules.ts";

/** What is in the scope is counted, and nothing else. */
async function infoOf(guard: Guard, answer: unknown): Promise<unknown> {
  if (!guard.scope.label) return answer;
  const all = (await guard.engine.containers.list({ all: true })).filter(({ Labels }) => guard.carries(Labels));
  const count = (state: string) => all.filter(({ State }) => State === state).length;
  const [running, paused] = [count("running"), count("paused")];
  return {
    ...(answer as Json),
    Containers: all.length,
    ContainersRunning: running,
    ContainersPaused: paused,
    ContainersStopped: all.length - running - paused,
  };
}

/** By the patterns of the API's tables. What is not here is refused: builds, checks, swarm, plugins, sessions. */
export const rules: Record<string, Rule> = {
  "GET /version": { sets: ["read-only"] },
  "GET /info": { sets: ["read-only"], after: infoOf },
  "GET /events": {
    sets: ["read-only"],
    before: (guard, call) => {
      call.sees = (event) => guard.sees(event);
    },
  },
  "GET /system/df": {
    sets: ["read-only"],
    before: ({ scope }) => {
      if (scope.label) throw forbidden(scope, "the disk usage of everything");
    },
  },
  ...containerRules,
  ...imageRules,
  ...volumeRules,
  ...networkRules,
};
