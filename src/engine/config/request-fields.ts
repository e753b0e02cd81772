import { invalid } from "../../base/errors.ts";
import type {
  ContainerConfig,
  DeviceMapping,
  DeviceRequest,
  ExecCreateRequest,
  HealthConfig,
  HostConfig,
  MountRequest,
  PortBinding,
  ThrottlePath,
  Ulimit,
  WeightDevice,
} from "../../spec/docker-api.ts";
import {
  boolean,
  type Check,
  emptyObject,
  integer,
  list,
  longText,
  map,
  object,
  type Shape,
  stringOrList,
  text,
} from "./fields.ts";

/** The types of the fields of POST /containers/create and /exec (Engine API 1.55, ContainerConfig and HostConfig). */

function required<T extends object>(shape: Shape<T>, ...names: (keyof T & string)[]): Check<T> {
  const check = object(shape);
  return (value, at) => {
    const one = check(value, at);
    for (const name of names) if (one[name] === undefined) throw invalid(`${at}: field ${name} must not be empty`);
    return one as T;
  };
}

const consoleSize: Check<[number, number]> = (value, at) => {
  const [height, width, ...more] = list(integer)(value, at);
  const fits = (n: number | undefined) => n !== undefined && n >= 0 && n <= 65535;
  if (!fits(height) || !fits(width) || more.length > 0) throw invalid(`${at}: expected [height, width] up to 65535`);
  return [height as number, width as number];
};

const health = object<HealthConfig>({
  Test: list(text),
  Interval: integer,
  Timeout: integer,
  Retries: integer,
  StartPeriod: integer,
  StartInterval: integer,
});

export const containerConfig = object<ContainerConfig>({
  Hostname: text,
  Domainname: text,
  User: text,
  AttachStdin: boolean,
  AttachStdout: boolean,
  AttachStderr: boolean,
  ExposedPorts: map(emptyObject),
  Tty: boolean,
  OpenStdin: boolean,
  StdinOnce: boolean,
  Env: list(text),
  Cmd: stringOrList,
  Image: text,
  Volumes: map(emptyObject),
  WorkingDir: text,
  Entrypoint: stringOrList,
  Labels: map(longText),
  StopSignal: text,
  StopTimeout: integer,
  Shell: stringOrList,
  OnBuild: list(text),
  Healthcheck: health,
  ArgsEscaped: boolean,
  MacAddress: text,
  NetworkDisabled: boolean,
});

const ulimit = required<Ulimit>({ Name: text, Soft: integer, Hard: integer }, "Name");
const throttle = required<ThrottlePath>({ Path: text, Rate: integer }, "Path", "Rate");
const weightDevice = required<WeightDevice>({ Path: text, Weight: integer }, "Path", "Weight");
const device = required<DeviceMapping>(
  { PathOnHost: text, PathInContainer: text, CgroupPermissions: text },
  "PathOnHost",
);

const mountFields = object<MountRequest>({
  // What is none of them mount-plan.ts refuses, in docker's words.
  Type: text as Check<MountRequest["Type"]>,
  Source: text,
  Target: text,
  ReadOnly: boolean,
  BindOptions: object({
    Propagation: text,
    NonRecursive: boolean,
    CreateMountpoint: boolean,
    ReadOnlyNonRecursive: boolean,
    ReadOnlyForceRecursive: boolean,
  }),
  VolumeOptions: object({
    NoCopy: boolean,
    Subpath: text,
    Labels: map(text),
    DriverConfig: object({ Name: text, Options: map(text) }),
  }),
  ImageOptions: object({ Subpath: text }),
  TmpfsOptions: object({ SizeBytes: integer, Mode: integer, Options: list(list(text)) }),
});
const mount: Check<MountRequest> = (value, at) => ({ Type: "" as never, Target: "", ...mountFields(value, at) });

const bindings = list(object<PortBinding>({ HostIp: text, HostPort: text }));
/** A port without bindings may be null. */
export const portBindings: Check<PortBinding[] | null> = (value, at) => (value === null ? null : bindings(value, at));

const deviceRequest = object<DeviceRequest>({
  Driver: text,
  Count: integer,
  DeviceIDs: list(text),
  Capabilities: list(list(text)),
  Options: map(text),
});

export const hostConfig = object<HostConfig>({
  Binds: list(text),
  VolumesFrom: list(text),
  VolumeDriver: text,
  Mounts: list(mount),
  Tmpfs: map(text),
  NetworkMode: text,
  AutoRemove: boolean,
  Privileged: boolean,
  ReadonlyRootfs: boolean,
  Init: boolean,
  CapAdd: stringOrList,
  CapDrop: stringOrList,
  SecurityOpt: list(longText),
  UsernsMode: text,
  PidMode: text,
  IpcMode: text,
  UTSMode: text,
  CgroupnsMode: text,
  CgroupParent: text,
  GroupAdd: list(text),
  Sysctls: map(text),
  ShmSize: integer,
  OomScoreAdj: integer,
  Devices: list(device),
  DeviceCgroupRules: list(text),
  DeviceRequests: list(deviceRequest),
  Ulimits: list(ulimit),
  Memory: integer,
  MemorySwap: integer,
  MemoryReservation: integer,
  MemorySwappiness: integer,
  OomKillDisable: boolean,
  NanoCpus: integer,
  CpuShares: integer,
  CpuPeriod: integer,
  CpuQuota: integer,
  CpuRealtimePeriod: integer,
  CpuRealtimeRuntime: integer,
  CpusetCpus: text,
  CpusetMems: text,
  PidsLimit: integer,
  BlkioWeight: integer,
  BlkioWeightDevice: list(weightDevice),
  BlkioDeviceReadBps: list(throttle),
  BlkioDeviceWriteBps: list(throttle),
  BlkioDeviceReadIOps: list(throttle),
  BlkioDeviceWriteIOps: list(throttle),
  MaskedPaths: list(text),
  ReadonlyPaths: list(text),
  RestartPolicy: object({ Name: text, MaximumRetryCount: integer }),
  RestartOnUnhealthy: boolean,
  TTL: integer,
  IdleTTL: integer,
  Egress: list(text),
  Bandwidth: object({ Egress: integer, Ingress: integer }),
  LogConfig: object({ Type: text, Config: map(text) }),
  ConsoleSize: consoleSize,
  ExtraHosts: list(text),
  Annotations: map(text),
  Runtime: text,
  Isolation: text,
  StorageOpt: map(text),
  ContainerIDFile: text,
  PortBindings: map(portBindings),
  PublishAllPorts: boolean,
  Links: list(text),
  Dns: list(text),
  DnsOptions: list(text),
  DnsSearch: list(text),
});

export const execRequest = object<ExecCreateRequest>({
  AttachStdin: boolean,
  AttachStdout: boolean,
  AttachStderr: boolean,
  Tty: boolean,
  Cmd: stringOrList,
  Env: list(text),
  User: text,
  WorkingDir: text,
  Privileged: boolean,
  DetachKeys: text,
  ConsoleSize: consoleSize,
});
