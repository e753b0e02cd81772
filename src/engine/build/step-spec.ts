import type { StepContainer } from "../../build/step.ts";
import { FD } from "../../runtime/builder.ts";
import type { ContainerConfig, HostConfig } from "../../spec/docker-api.ts";
import type { Spec } from "../../spec/oci-runtime.ts";
import { toSpec } from "../config/to-spec.ts";
import { lookupIn } from "../rootfs.ts";

/** The OCI config of a RUN step's container: that of `docker run`, and no more rights than it has by default. */
export function stepSpec({ id, step, directories, files, mounts, network }: StepContainer): Spec {
  const { args, env, cwd, user, hostname, insecure, limits = {}, shmSize, ulimits } = step;
  const config: ContainerConfig = {
    Cmd: [...args],
    Env: [...env],
    WorkingDir: cwd,
    User: user,
    Hostname: hostname,
  };
  const host: HostConfig = {
    NetworkMode: network === "given" ? "default" : network,
    Privileged: insecure,
    ...(shmSize ? { ShmSize: shmSize } : {}),
    ...(ulimits ? { Ulimits: ulimits.map(({ name, soft, hard }) => ({ Name: name, Soft: soft, Hard: hard })) } : {}),
    ...(limits.memory ? { Memory: limits.memory } : {}),
    ...(limits.memorySwap ? { MemorySwap: limits.memorySwap } : {}),
    ...(limits.cpuPeriod ? { CpuPeriod: limits.cpuPeriod } : {}),
    ...(limits.cpuQuota ? { CpuQuota: limits.cpuQuota } : {}),
    ...(limits.cpuShares ? { CpuShares: limits.cpuShares } : {}),
    ...(limits.cpusetCpus ? { CpusetCpus: limits.cpusetCpus } : {}),
    ...(limits.cpusetMems ? { CpusetMems: limits.cpusetMems } : {}),
  };
  const [upper = "", ...lower] = directories;
  const spec = toSpec({
    id,
    config,
    host,
    rootfs: { lookup: lookupIn(upper, lower, undefined) },
    files,
    volumes: [],
    ...(network === "given" ? { network: { path: `/proc/self/fd/${FD.network}` } } : {}),
  });
  const own = new Set(mounts.map(({ destination }) => destination));
  spec.mounts = [...(spec.mounts ?? []).filter(({ destination }) => !own.has(destination)), ...mounts];
  return spec;
}
