import { invalid } from "../../base/errors.ts";
import type { HostConfig } from "../../spec/docker-api.ts";
import { checkCpuset, parseCpuList } from "./cpuset.ts";
import type { HostFacts } from "./host-facts.ts";

const MIB = 1024 * 1024;
const MIN_MEMORY = 6 * MIB;

/**
 * Checks the resource limits of a HostConfig against each other and the machine, and fills docker's defaults
 * (MemorySwap twice Memory). A limit that the kernel cannot hold is dropped with a warning, as docker does. Throws
 * invalid.
 */
export function checkLimits(host: HostConfig, facts: HostFacts): { host: HostConfig; warnings: string[] } {
  const limits = { ...host };
  const warnings = [...memory(limits, facts), ...blockIo(limits, facts)];
  cpu(limits, facts);
  realtime(limits, facts);
  checkCpuset(limits.CpusetCpus ?? "", "cpus", facts.cpus);
  checkCpuset(limits.CpusetMems ?? "", "mems", facts.mems);
  if ((limits.ShmSize ?? 0) < 0) throw invalid("SHM size can not be less than 0");
  const score = limits.OomScoreAdj ?? 0;
  if (score < -1000 || score > 1000) {
    throw invalid(`invalid value ${score}, range for oom score adj is [-1000, 1000]`);
  }
  return { host: limits, warnings };
}

function memory(limits: HostConfig, facts: HostFacts): string[] {
  const warnings: string[] = [];
  const { Memory = 0, MemoryReservation: reservation = 0 } = limits;
  if (Memory !== 0 && Memory < MIN_MEMORY) throw invalid("minimum memory limit allowed is 6MB");
  let swap = limits.MemorySwap ?? 0;
  if (swap < -1) throw invalid(`invalid memory swap limit ${swap}, use -1 for unlimited`);
  if (swap > 0 && Memory === 0) {
    throw invalid("you should always set the memory limit when using memoryswap limit, see usage");
  }
  if (swap > 0 && swap < Memory) {
    throw invalid("minimum memoryswap limit should be larger than memory limit, see usage");
  }
  if (Memory > 0 && !facts.swapLimit && swap !== -1) {
    const why = "your kernel does not support swap limit capabilities or the cgroup is not mounted";
    warnings.push(`${why}, memory limited without swap`);
    swap = -1;
  }
  // Never beyond 2^53, where doubles lose bytes.
  if (Memory > 0 && swap === 0) swap = Math.min(2 * Memory, Number.MAX_SAFE_INTEGER);
  if (swap !== 0) limits.MemorySwap = swap;

  if (reservation !== 0 && reservation < MIN_MEMORY) throw invalid("minimum memory reservation allowed is 6MB");
  if (Memory > 0 && reservation > Memory) {
    throw invalid("minimum memory limit can not be less than memory reservation limit, see usage");
  }
  const swappiness = limits.MemorySwappiness ?? -1;
  if (swappiness < -1 || swappiness > 100) {
    throw invalid(`invalid value: ${swappiness}, valid memory swappiness range is 0-100`);
  }
  if (swappiness === -1) delete limits.MemorySwappiness;
  else if (facts.cgroup === "v2") {
    warnings.push("cgroup v2 has no memory swappiness, MemorySwappiness discarded");
    delete limits.MemorySwappiness;
  }
  if (limits.OomKillDisable && facts.cgroup === "v2") {
    warnings.push("your kernel does not support OomKillDisable, OomKillDisable discarded");
    limits.OomKillDisable = false;
  } else if (limits.OomKillDisable && Memory === 0) {
    warnings.push(
      "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources",
    );
  }
  return warnings;
}

function cpu(limits: HostConfig, facts: HostFacts): void {
  const { NanoCpus: nano = 0, CpuPeriod: period = 0, CpuQuota: quota = 0, CpuShares: shares = 0 } = limits;
  if (nano !== 0 && period !== 0) throw invalid("conflicting options: Nano CPUs and CPU Period cannot both be set");
  if (nano !== 0 && quota !== 0) throw invalid("conflicting options: Nano CPUs and CPU Quota cannot both be set");
  const count = parseCpuList(facts.cpus)?.size ?? 1;
  if (nano < 0 || nano > count * 1e9 || (nano > 0 && nano < 1e7)) {
    throw invalid(`range of CPUs is from 0.01 to ${count}.00, as there are only ${count} CPUs available`);
  }
  if (period !== 0 && (period < 1000 || period > 1_000_000)) {
    throw invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
  }
  if (quota !== 0 && quota !== -1 && quota < 1000) {
    throw invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)");
  }
  if (shares < 0) throw invalid(`invalid CPU shares (${shares}): value must be a positive integer`);
}

/** Limits of real-time processes; microseconds. */
function realtime(limits: HostConfig, facts: HostFacts): void {
  const { CpuRealtimePeriod: period = 0, CpuRealtimeRuntime: runtime = 0 } = limits;
  if (period === 0 && runtime === 0) return;
  if (!facts.cpuRealtime) throw invalid("your kernel does not support CPU real-time scheduler");
  if (period < 0 || runtime < -1) throw invalid("CPU real-time period and runtime must not be negative");
  if (runtime > period && period > 0) throw invalid("cpu real-time runtime cannot be higher than cpu real-time period");
}

export const THROTTLES = [
  "BlkioDeviceReadBps",
  "BlkioDeviceWriteBps",
  "BlkioDeviceReadIOps",
  "BlkioDeviceWriteIOps",
] as const;

const isWeight = (weight: number) => weight >= 10 && weight <= 1000;

function blockIo(limits: HostConfig, facts: HostFacts): string[] {
  const warnings: string[] = [];
  const { BlkioWeight: weight = 0 } = limits;
  if (weight !== 0 && !isWeight(weight)) throw invalid("range of blkio weight is from 10 to 1000");
  for (const { Path, Weight } of limits.BlkioWeightDevice ?? []) {
    if (!Path.startsWith("/")) throw invalid(`BlkioWeightDevice: device path '${Path.slice(0, 256)}' must be absolute`);
    if (!isWeight(Weight)) throw invalid(`range of blkio weight is from 10 to 1000, but that of ${Path} is ${Weight}`);
  }
  const why = "or the cgroup is not mounted";
  if (weight !== 0 && !facts.blkioWeight) {
    warnings.push(`your kernel does not support block I/O weight ${why}, weight discarded`);
    limits.BlkioWeight = 0;
  }
  if (limits.BlkioWeightDevice?.length && !facts.blkioWeight) {
    warnings.push(`your kernel does not support block I/O weight_device ${why}, weight-device discarded`);
    limits.BlkioWeightDevice = [];
  }
  for (const name of THROTTLES) {
    for (const { Path, Rate } of limits[name] ?? []) {
      if (!Path.startsWith("/")) throw invalid(`${name}: device path '${Path}' must be absolute`);
      if (Rate < 0) throw invalid(`${name}: the rate of ${Path} must not be negative`);
    }
  }
  return warnings;
}
