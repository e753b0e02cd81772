import { parseRfc3339 } from "./clock.ts";
import { shownStatus } from "./list-filters.ts";
import type { StateRecord } from "./store.ts";

/** The Status text of a list: `Up 3 minutes`, `Exited (0) 2 days ago`. */
export function statusText(state: StateRecord, now: number = Date.now()): string {
  const since = (time: string) => humanDuration(now - Number((parseRfc3339(time) ?? 0n) / 1_000_000n));
  if (state.status === "running") return `Up ${since(state.startedAt)}${healthText(state)}`;
  if (state.status === "paused") return `Up ${since(state.startedAt)} (Paused)`;
  if (shownStatus(state) === "restarting") return `Restarting (${state.exitCode}) ${since(state.finishedAt)} ago`;
  if (shownStatus(state) === "exited") return `Exited (${state.exitCode}) ${since(state.finishedAt)} ago`;
  if (state.status === "removing") return "Removal In Progress";
  return "Created";
}

function healthText({ health }: StateRecord): string {
  if (!health) return "";
  return health.status === "starting" ? " (health: starting)" : ` (${health.status})`;
}

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Milliseconds in words, with docker's thresholds. */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.max(0, milliseconds / 1000);
  const units = (size: number, name: string) => `${Math.floor(seconds / size)} ${name}s`;
  if (seconds < 1) return "Less than a second";
  if (seconds < 2) return "1 second";
  if (seconds < MINUTE) return units(1, "second");
  if (seconds < 2 * MINUTE) return "About a minute";
  if (seconds < HOUR) return units(MINUTE, "minute");
  if (Math.round(seconds / HOUR) === 1) return "About an hour";
  if (seconds < 48 * HOUR) return `${Math.round(seconds / HOUR)} hours`;
  if (seconds < 14 * DAY) return units(DAY, "day");
  if (seconds < 60 * DAY) return units(7 * DAY, "week");
  if (seconds < 730 * DAY) return units(30 * DAY, "month");
  return units(365 * DAY, "year");
}
