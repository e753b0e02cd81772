import type { HostConfig } from "../../spec/docker-api.ts";

/** What a container's restarts by its policy have come to; part of its state. */
export interface Restarts {
  /** Since the last start by a client: RestartCount. */
  count: number;
  /** Milliseconds that the last one was put off. */
  delay: number;
  /** Milliseconds since the epoch of the next one, while it waits for that. */
  due?: number;
}

/** How a run ended. */
export interface Ending {
  exitCode: number;
  /** Somebody asked it to stop. */
  stopped: boolean;
  /** A client asked to restart it. */
  restart: boolean;
  /** It was unhealthy, in docker's sense. */
  unhealthy: boolean;
  /** Milliseconds from its start. */
  lived: number;
  /** Milliseconds since the epoch. */
  at: number;
}

const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 60_000;
/** A run of this length was a success, so that the next delay is the first one again. */
const SETTLED_MS = 10_000;

/** The restart that follows this ending, if any (docker's restart policies; RestartOnUnhealthy is ours). */
export function nextRestart(
  host: HostConfig,
  before: Restarts | undefined,
  ending: Ending,
): (Restarts & { due: number }) | undefined {
  if (ending.restart) return { count: 0, delay: 0, due: ending.at };
  const { RestartPolicy: policy, RestartOnUnhealthy } = host;
  if (ending.stopped) return undefined;
  const { Name: name = "no" } = policy ?? {};
  const failed = ending.unhealthy && RestartOnUnhealthy === true;
  const wanted =
    name === "always" || name === "unless-stopped" || failed || (name === "on-failure" && ending.exitCode !== 0);
  if (!wanted || isExhausted(host, before)) return undefined;
  const last = ending.lived >= SETTLED_MS ? 0 : (before?.delay ?? 0);
  const delay = last === 0 ? FIRST_DELAY_MS : Math.min(last * 2, LONGEST_DELAY_MS);
  return { count: (before?.count ?? 0) + 1, delay, due: ending.at + delay };
}

/** It was restarted as often as its policy allows. */
export function isExhausted({ RestartPolicy: policy }: HostConfig, restarts: Restarts | undefined): boolean {
  const most = policy?.MaximumRetryCount ?? 0;
  return most > 0 && (restarts?.count ?? 0) >= most;
}

/**
 * Whether an engine that starts also starts this container, which ended in an earlier engine's time: `always` in any
 * case, as docker has it, `unless-stopped` unless somebody stopped it. A failure that `on-failure` gave up is over.
 */
export function startsWithEngine({ RestartPolicy: policy }: HostConfig, stopped: boolean): boolean {
  return policy?.Name === "always" || (policy?.Name === "unless-stopped" && !stopped);
}

/** Whether there is anything that can start it without a client. */
export function hasRestartPolicy({ RestartPolicy: policy, RestartOnUnhealthy }: HostConfig): boolean {
  return RestartOnUnhealthy === true || (policy?.Name !== undefined && policy.Name !== "" && policy.Name !== "no");
}

/** References to the containers whose namespaces this one joins, so that they have to run first. */
export function joinedContainers({ NetworkMode, PidMode, IpcMode }: HostConfig): string[] {
  const prefix = "container:";
  return [NetworkMode, PidMode, IpcMode].flatMap((mode) =>
    mode?.startsWith(prefix) ? [mode.slice(prefix.length)] : [],
  );
}
