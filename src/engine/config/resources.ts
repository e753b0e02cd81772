import { invalid } from "../../base/errors.ts";
import type { HostConfig, ThrottlePath, WeightDevice } from "../../spec/docker-api.ts";
import type { DeviceRule, Resources, ThrottleDevice } from "../../spec/oci-runtime.ts";
import type { HostFiles } from "./host-files.ts";

/** CFS period behind NanoCpus, microseconds. */
const PERIOD = 100_000;

/**
 * linux.resources from limits that {@link file://./limits.ts} accepted (OCI runtime-spec, config-linux.md, "Control
 * groups"). Absent is unlimited; -1 is an explicit unlimited.
 */
export function resources(host: HostConfig, rules: DeviceRule[], files: HostFiles): Resources {
  const throttled = {
    weightDevice: weights(host.BlkioWeightDevice, files),
    throttleReadBpsDevice: throttle(host.BlkioDeviceReadBps, files),
    throttleWriteBpsDevice: throttle(host.BlkioDeviceWriteBps, files),
    throttleReadIOPSDevice: throttle(host.BlkioDeviceReadIOps, files),
    throttleWriteIOPSDevice: throttle(host.BlkioDeviceWriteIOps, files),
  };
  const groups: Resources = {
    memory: present({
      limit: host.Memory || undefined,
      reservation: host.MemoryReservation || undefined,
      swap: host.MemorySwap || undefined,
      swappiness: host.MemorySwappiness ?? undefined,
      disableOOMKiller: host.OomKillDisable || undefined,
    }),
    cpu: present({
      shares: host.CpuShares || undefined,
      quota: host.NanoCpus ? Math.round((host.NanoCpus * PERIOD) / 1e9) : host.CpuQuota || undefined,
      period: host.NanoCpus ? PERIOD : host.CpuPeriod || undefined,
      realtimePeriod: host.CpuRealtimePeriod || undefined,
      realtimeRuntime: host.CpuRealtimeRuntime || undefined,
      cpus: host.CpusetCpus || undefined,
      mems: host.CpusetMems || undefined,
    }),
    ...(host.PidsLimit && host.PidsLimit > 0 ? { pids: { limit: host.PidsLimit } } : {}),
    blockIO: present({ weight: host.BlkioWeight || undefined, ...throttled }),
  };
  const used = Object.entries(groups).filter(([, group]) => Object.keys(group as object).length > 0);
  return { devices: rules, ...Object.fromEntries(used) };
}

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Without the undefined fields. */
function present<T extends object>(fields: T): Present<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Present<T>;
}

function throttle(paths: ThrottlePath[] | null | undefined, files: HostFiles): ThrottleDevice[] | undefined {
  if (!paths?.length) return undefined;
  return paths.map(({ Path, Rate }) => ({ ...blockDevice(Path, files), rate: Rate }));
}

function weights(paths: WeightDevice[] | null | undefined, files: HostFiles) {
  if (!paths?.length) return undefined;
  return paths.map(({ Path, Weight }) => ({ ...blockDevice(Path, files), weight: Weight }));
}

function blockDevice(path: string, files: HostFiles): { major: number; minor: number } {
  const node = files.stat(path);
  if (node?.type !== "b") throw invalid(`no such block device: ${path}`);
  return { major: node.major, minor: node.minor };
}
