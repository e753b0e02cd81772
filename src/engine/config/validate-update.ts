import { conflict, invalid } from "../../base/errors.ts";
import type { HostConfig } from "../../spec/docker-api.ts";
import { checkExpiry } from "./expiry.ts";
import { record } from "./fields.ts";
import { type HostFacts, hostFacts } from "./host-facts.ts";
import { checkLimits, THROTTLES } from "./limits.ts";
import { hostConfig } from "./request-fields.ts";
import { checkRestartPolicy } from "./restart-policy.ts";
import { refuseUnsupported } from "./unsupported.ts";

// Schema ContainerUpdate: the limits that a cgroup can change while it is in use.
const CHANGEABLE = [
  "BlkioWeight",
  "CpuPeriod",
  "CpuQuota",
  "CpuRealtimePeriod",
  "CpuRealtimeRuntime",
  "CpuShares",
  "CpusetCpus",
  "CpusetMems",
  "Memory",
  "MemoryReservation",
  "MemorySwap",
  "NanoCpus",
] as const;

/** null keeps the list, [] clears it. */
const BLOCK_DEVICES = ["BlkioWeightDevice", ...THROTTLES] as const;

/**
 * Checks the untrusted body of POST /containers/{id}/update against the container's present HostConfig and returns the
 * new one; zero values change nothing, but for PidsLimit, where they lift the limit. Throws invalid, and conflict for a restart policy beside AutoRemove.
 */
export function validateUpdate(
  body: unknown,
  present: HostConfig,
  options: { blockDevices: boolean },
  facts: HostFacts = hostFacts(),
): { host: HostConfig; warnings: string[] } {
  const request = record(body, "the request body");
  refuseUnsupported(request);
  const asked = hostConfig(request, "");
  const restart = restartChanges(asked, present);
  const changes = Object.fromEntries(
    CHANGEABLE.flatMap((name) => (asked[name] ? [[name, asked[name]] as const] : [])),
  ) as Partial<HostConfig>;
  if (asked.PidsLimit !== undefined) changes.PidsLimit = Math.max(0, asked.PidsLimit ?? 0);
  if (options.blockDevices) {
    for (const name of BLOCK_DEVICES) if (asked[name]) changes[name] = asked[name] as never;
  }
  if (changes.Memory && !changes.MemorySwap && present.MemorySwap && present.MemorySwap > 0) {
    if (changes.Memory > present.MemorySwap) {
      throw invalid(
        "memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
      );
    }
  }
  // CpuQuota and NanoCpus are two notations of one limit: the new one takes the place of the old.
  const base = { ...present };
  if (changes.NanoCpus) for (const name of ["CpuQuota", "CpuPeriod"] as const) delete base[name];
  else if (changes.CpuQuota || changes.CpuPeriod) delete base.NanoCpus;
  checkExpiry(asked);
  const { TTL = present.TTL, IdleTTL = present.IdleTTL } = asked;
  const times = { ...(TTL === undefined ? {} : { TTL }), ...(IdleTTL === undefined ? {} : { IdleTTL }) };
  return checkLimits({ ...base, ...changes, ...restart, ...times }, facts);
}

function restartChanges(asked: HostConfig, present: HostConfig): Partial<HostConfig> {
  checkRestartPolicy({ ...asked, AutoRemove: false });
  const { RestartPolicy: policy, RestartOnUnhealthy } = asked;
  const named = policy?.Name ? { Name: policy.Name, MaximumRetryCount: policy.MaximumRetryCount ?? 0 } : undefined;
  if (present.AutoRemove && ((named && named.Name !== "no") || RestartOnUnhealthy)) {
    throw conflict("Restart policy cannot be updated because AutoRemove is enabled for the container");
  }
  return {
    ...(named ? { RestartPolicy: named } : {}),
    ...(RestartOnUnhealthy === undefined ? {} : { RestartOnUnhealthy }),
  };
}
