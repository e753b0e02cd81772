import type { ContainerConfig, HealthcheckResult } from "../../spec/docker-api.ts";
import { parseRfc3339 } from "../clock.ts";
import { type HealthCheck, healthCheck } from "../config/health.ts";

/** How a container's health checks went; part of its state. */
export interface HealthRecord {
  status: "starting" | "healthy" | "unhealthy";
  failingStreak: number;
  /** The last ones, oldest first. */
  log: HealthcheckResult[];
}

const LOG_ENTRIES = 5;

/** State of a run that begins, if the container has a check. What the last run's checks said stays to be read. */
export function startingHealth(config: ContainerConfig, before: HealthRecord | undefined): { health?: HealthRecord } {
  if (!healthCheck(config)) return {};
  return { health: { status: "starting", failingStreak: 0, log: before?.log ?? [] } };
}

/** Docker calls a container that has ended unhealthy: it must not seem to be well. */
export function endedHealth(record: HealthRecord): HealthRecord {
  return { ...record, status: "unhealthy" };
}

/** The record after one more check. A failure does not count while the container starts, for as long as it may. */
export function withResult(
  record: HealthRecord,
  result: HealthcheckResult,
  check: HealthCheck,
  startedAt: string,
): HealthRecord {
  const log = [...record.log, result].slice(-LOG_ENTRIES);
  if (result.ExitCode === 0) return { status: "healthy", failingStreak: 0, log };
  const age = Number((parseRfc3339(result.Start) ?? 0n) - (parseRfc3339(startedAt) ?? 0n)) / 1e6;
  if (record.status === "starting" && age < check.startPeriod) return { ...record, log };
  const failingStreak = record.failingStreak + 1;
  return { status: failingStreak >= check.retries ? "unhealthy" : record.status, failingStreak, log };
}

/** Milliseconds from the end of one check, or from the start of the container, to the next. `age`: of the container. */
export function pauseAfter(record: HealthRecord, check: HealthCheck, age: number): number {
  return record.status === "starting" && age < check.startPeriod ? check.startInterval : check.interval;
}
