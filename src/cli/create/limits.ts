import type { HostConfig } from "../../spec/docker-api.ts";
import type { Flag, Options } from "../flags.ts";
import { createFlags } from "./flags.ts";

export type Limits = HostConfig & { CpuRealtimePeriod?: number; CpuRealtimeRuntime?: number };

/** What can be changed of a container that is there: fields of HostConfig and their flags. */
export const LIMITS = {
  BlkioWeight: "blkio-weight",
  CpuPeriod: "cpu-period",
  CpuQuota: "cpu-quota",
  CpuRealtimePeriod: "cpu-rt-period",
  CpuRealtimeRuntime: "cpu-rt-runtime",
  CpuShares: "cpu-shares",
  CpusetCpus: "cpuset-cpus",
  CpusetMems: "cpuset-mems",
  Memory: "memory",
  MemoryReservation: "memory-reservation",
  MemorySwap: "memory-swap",
  NanoCpus: "cpus",
  PidsLimit: "pids-limit",
} as const;

const names = new Set<string>(Object.values(LIMITS));

/** The flags of {@link LIMITS}, as create has them. */
export const limitFlags: readonly Flag[] = createFlags.filter(({ name }) => names.has(name));

/** Sets each field whose flag is on the command line to the flag's value. */
export function setFields<T extends object>(
  options: Options,
  target: T,
  flags: Partial<Record<keyof T, string>>,
): void {
  for (const [field, flag] of Object.entries(flags) as [keyof T, string][]) {
    if (options.has(flag)) target[field] = options.value(flag) as T[keyof T];
  }
}
