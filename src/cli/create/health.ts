import { parseDuration } from "../../base/duration.ts";
import type { HealthConfig } from "../../spec/docker-api.ts";
import { ExitError } from "../command.ts";
import type { Flag, Options } from "../flags.ts";

/** A Go duration to nanoseconds, as the API has them. */
export function parseNanoseconds(text: string): number {
  const seconds = parseDuration(text);
  if (seconds === undefined) throw new Error(`time: invalid duration ${JSON.stringify(text)}`);
  return Math.round(seconds * 1e9);
}

export const durationFlag = { type: "string", value: "duration", parse: parseNanoseconds } as const;

/** The health check's options of create and run, beside --no-healthcheck. */
export const healthFlags: readonly Flag[] = [
  { name: "health-cmd", type: "string", help: "Command in the container that says how it is" },
  {
    name: "health-http",
    type: "string",
    value: "url",
    help: "URL that has to answer, as http://127.0.0.1:8080/health",
  },
  { name: "health-interval", ...durationFlag, help: "Time between checks (30s)" },
  { name: "health-retries", type: "int", help: "Failures in a row that make it unhealthy (3)" },
  { name: "health-start-interval", ...durationFlag, help: "Time between checks in the start period (5s)" },
  { name: "health-start-period", ...durationFlag, help: "Time in which failures do not count yet (0s)" },
  { name: "health-tcp", type: "string", value: "address", help: "Address that has to accept, as 127.0.0.1:5432" },
  { name: "health-timeout", ...durationFlag, help: "Time that one check may take (30s)" },
];

const PROBES = { "health-cmd": "CMD-SHELL", "health-http": "HTTP", "health-tcp": "TCP" };
const DURATIONS = {
  Interval: "health-interval",
  Timeout: "health-timeout",
  StartPeriod: "health-start-period",
  StartInterval: "health-start-interval",
} as const;

/** The Healthcheck that the options ask for; undefined when they say nothing. Wrong ones are an ExitError 125. */
export function healthConfig(options: Options): HealthConfig | undefined {
  const config: HealthConfig = {};
  const probes = Object.entries(PROBES).filter(([flag]) => options.string(flag) !== "");
  if (probes.length > 1) {
    throw new ExitError(125, `conflicting options: ${probes.map(([flag]) => `--${flag}`).join(" and ")}`);
  }
  for (const [flag, kind] of probes) config.Test = [kind, options.string(flag)];
  for (const [field, flag] of Object.entries(DURATIONS) as [keyof typeof DURATIONS, string][]) {
    const duration = options.number(flag) ?? 0;
    if (duration < 0) throw new ExitError(125, `--${flag} cannot be negative`);
    if (duration > 0) config[field] = duration;
  }
  const retries = options.number("health-retries") ?? 0;
  if (retries < 0) throw new ExitError(125, "--health-retries cannot be negative");
  if (retries > 0) config.Retries = retries;
  const said = Object.keys(config).length > 0;
  if (!options.bool("no-healthcheck")) return said ? config : undefined;
  if (said) throw new ExitError(125, "--no-healthcheck conflicts with --health-* options");
  return { Test: ["NONE"] };
}
