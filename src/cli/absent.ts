import { NO_VALUE } from "../base/template/format.ts";

/**
 * Fields that a template may ask for though the API's JSON leaves them out, or has null, where there is nothing: what
 * they are then in docker's own structs.
 */
const FIELDS: Readonly<Record<string, unknown>> = {
  ...kind(null, "Health Healthcheck SizeRw SizeRootFs StopTimeout Init IPAMConfig Descriptor ImageManifestDescriptor"),
  ...kind(null, "MemorySwappiness OomKillDisable PidsLimit UsageData BindOptions VolumeOptions TmpfsOptions"),
  ...kind("", "MacAddress StopSignal Variant Comment Author DockerVersion Parent VolumeDriver"),
  ...kind(false, "ArgsEscaped NetworkDisabled"),
  ...kind([], "Entrypoint Cmd Env OnBuild Shell Binds Mounts VolumesFrom CapAdd CapDrop Dns DnsOptions DnsSearch"),
  ...kind([], "ExtraHosts GroupAdd Links SecurityOpt Devices DeviceCgroupRules DeviceRequests Ulimits MaskedPaths"),
  ...kind([], "ReadonlyPaths BlkioWeightDevice BlkioDeviceReadBps BlkioDeviceWriteBps BlkioDeviceReadIOps"),
  ...kind([], "BlkioDeviceWriteIOps Aliases DNSNames ExecIDs RepoTags RepoDigests Layers LinkLocalIPs"),
  ...kind({}, "ExposedPorts Volumes Labels Sysctls Tmpfs Annotations StorageOpt DriverOpts PortBindings Options Ports"),
};

/** Maps of free keys: one that is not there is no mistake. */
const MAPS = new Set("Labels Data Options Sysctls Tmpfs Annotations StorageOpt DriverOpts Networks".split(" "));

function kind(value: unknown, names: string): Record<string, unknown> {
  return Object.fromEntries(names.split(" ").map((name) => [name, value]));
}

/** For {@link file://../base/template/template.ts}. */
export function absent(name: string, parent: string | undefined): unknown {
  if (parent !== undefined && MAPS.has(parent)) return NO_VALUE;
  return Object.hasOwn(FIELDS, name) ? FIELDS[name] : undefined;
}
