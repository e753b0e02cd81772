/**
 * Docker Engine API 1.55: the objects on the wire, under their own names. What arrives from a client is untyped until
 * engine/ has checked it; these types say what is left after that, and what inro answers.
 */

import type { Descriptor, Platform } from "./oci-image.ts";

export const API_VERSION = "1.55";
/** The oldest that is served unless the operator says otherwise. */
export const MIN_API_VERSION = "1.24";

export interface ContainerConfig {
  Hostname?: string;
  Domainname?: string;
  User?: string;
  AttachStdin?: boolean;
  AttachStdout?: boolean;
  AttachStderr?: boolean;
  ExposedPorts?: Record<string, object>;
  Tty?: boolean;
  OpenStdin?: boolean;
  StdinOnce?: boolean;
  Env?: string[];
  Cmd?: string[] | null;
  Image?: string;
  Volumes?: Record<string, object> | null;
  WorkingDir?: string;
  Entrypoint?: string[] | null;
  Labels?: Record<string, string>;
  StopSignal?: string;
  StopTimeout?: number;
  Shell?: string[];
  OnBuild?: string[];
  Healthcheck?: HealthConfig;
  ArgsEscaped?: boolean;
  /** Deprecated: an endpoint has its own. */
  MacAddress?: string;
  NetworkDisabled?: boolean;
}

/** Durations in nanoseconds; 0 inherits the image's, or the default. */
export interface HealthConfig {
  Test?: string[];
  Interval?: number;
  Timeout?: number;
  Retries?: number;
  StartPeriod?: number;
  StartInterval?: number;
}

/** One run of a health check. */
export interface HealthcheckResult {
  Start: string;
  End: string;
  /** 0 is healthy; -1 one that could not be run, or took too long. */
  ExitCode: number;
  Output: string;
}

export interface Health {
  Status: "none" | "starting" | "healthy" | "unhealthy";
  FailingStreak: number;
  Log: HealthcheckResult[];
}

export interface Ulimit {
  Name: string;
  Soft: number;
  Hard: number;
}

export interface DeviceMapping {
  PathOnHost: string;
  PathInContainer?: string;
  CgroupPermissions?: string;
}

export interface DeviceRequest {
  Driver?: string;
  Count?: number;
  DeviceIDs?: string[];
  Capabilities?: string[][];
  Options?: Record<string, string>;
}

export interface ThrottlePath {
  Path: string;
  Rate: number;
}

export interface WeightDevice {
  Path: string;
  Weight: number;
}

export interface MountRequest {
  Type: "bind" | "volume" | "tmpfs" | "image";
  Source?: string;
  Target: string;
  ReadOnly?: boolean;
  BindOptions?: {
    Propagation?: string;
    NonRecursive?: boolean;
    CreateMountpoint?: boolean;
    ReadOnlyNonRecursive?: boolean;
    ReadOnlyForceRecursive?: boolean;
  };
  VolumeOptions?: {
    NoCopy?: boolean;
    Subpath?: string;
    Labels?: Record<string, string>;
    DriverConfig?: { Name?: string; Options?: Record<string, string> };
  };
  ImageOptions?: { Subpath?: string };
  TmpfsOptions?: { SizeBytes?: number; Mode?: number; Options?: string[][] };
}

export interface HostConfig {
  Binds?: string[] | null;
  VolumesFrom?: string[] | null;
  VolumeDriver?: string;
  Mounts?: MountRequest[] | null;
  Tmpfs?: Record<string, string>;
  NetworkMode?: string;
  AutoRemove?: boolean;
  Privileged?: boolean;
  ReadonlyRootfs?: boolean;
  Init?: boolean | null;
  CapAdd?: string[] | null;
  CapDrop?: string[] | null;
  SecurityOpt?: string[] | null;
  UsernsMode?: string;
  PidMode?: string;
  IpcMode?: string;
  UTSMode?: string;
  CgroupnsMode?: string;
  CgroupParent?: string;
  GroupAdd?: string[] | null;
  Sysctls?: Record<string, string>;
  ShmSize?: number;
  OomScoreAdj?: number;
  Devices?: DeviceMapping[] | null;
  DeviceCgroupRules?: string[] | null;
  DeviceRequests?: DeviceRequest[] | null;
  Ulimits?: Ulimit[] | null;
  Memory?: number;
  MemorySwap?: number;
  MemoryReservation?: number;
  MemorySwappiness?: number | null;
  OomKillDisable?: boolean | null;
  NanoCpus?: number;
  CpuShares?: number;
  CpuPeriod?: number;
  CpuQuota?: number;
  /** Microseconds, as CpuPeriod. */
  CpuRealtimePeriod?: number;
  CpuRealtimeRuntime?: number;
  CpusetCpus?: string;
  CpusetMems?: string;
  PidsLimit?: number | null;
  BlkioWeight?: number;
  BlkioWeightDevice?: WeightDevice[] | null;
  BlkioDeviceReadBps?: ThrottlePath[] | null;
  BlkioDeviceWriteBps?: ThrottlePath[] | null;
  BlkioDeviceReadIOps?: ThrottlePath[] | null;
  BlkioDeviceWriteIOps?: ThrottlePath[] | null;
  MaskedPaths?: string[] | null;
  ReadonlyPaths?: string[] | null;
  RestartPolicy?: { Name?: string; MaximumRetryCount?: number };
  /** inro's own: a container that becomes unhealthy is stopped and started again, whatever its policy. */
  RestartOnUnhealthy?: boolean;
  /** inro's own, nanoseconds: a container is stopped so long after a client has started it. 0: never. */
  TTL?: number;
  /** inro's own, nanoseconds: a container is stopped when nobody has used it for so long. 0: never. */
  IdleTTL?: number;
  /** inro's own: what may be sent beyond the container's networks, as `allow=TARGET,…` and `deny=TARGET,…`. */
  Egress?: string[] | null;
  /** inro's own, bits in a second by all interfaces each: what it may send, and receive. 0: as much as there is. */
  Bandwidth?: { Egress?: number; Ingress?: number } | null;
  LogConfig?: { Type?: string; Config?: Record<string, string> };
  ConsoleSize?: [number, number];
  ExtraHosts?: string[] | null;
  Annotations?: Record<string, string>;
  Runtime?: string;
  Isolation?: string;
  StorageOpt?: Record<string, string>;
  ContainerIDFile?: string;
  PortBindings?: Record<string, PortBinding[] | null>;
  PublishAllPorts?: boolean;
  Links?: string[] | null;
  Dns?: string[] | null;
  DnsOptions?: string[] | null;
  DnsSearch?: string[] | null;
}

export interface PortBinding {
  HostIp?: string;
  HostPort?: string;
}

/** A container's place in a network: what is asked for, and what it has. */
export interface EndpointSettings {
  IPAMConfig?: { IPv4Address?: string; IPv6Address?: string; LinkLocalIPs?: string[] } | null;
  Links?: string[] | null;
  Aliases?: string[] | null;
  MacAddress?: string;
  DriverOpts?: Record<string, string> | null;
  GwPriority?: number;
  NetworkID?: string;
  EndpointID?: string;
  Gateway?: string;
  IPAddress?: string;
  IPPrefixLen?: number;
  IPv6Gateway?: string;
  GlobalIPv6Address?: string;
  GlobalIPv6PrefixLen?: number;
  DNSNames?: string[] | null;
}

export interface IpamConfig {
  Subnet?: string;
  IPRange?: string;
  Gateway?: string;
  AuxiliaryAddresses?: Record<string, string>;
}

/** Body of POST /networks/create. */
export interface NetworkCreateRequest {
  Name: string;
  Driver?: string;
  Scope?: string;
  Internal?: boolean;
  Attachable?: boolean;
  Ingress?: boolean;
  ConfigOnly?: boolean;
  ConfigFrom?: { Network?: string } | null;
  IPAM?: { Driver?: string; Config?: IpamConfig[] | null; Options?: Record<string, string> | null } | null;
  EnableIPv4?: boolean;
  EnableIPv6?: boolean;
  Options?: Record<string, string> | null;
  Labels?: Record<string, string> | null;
}

/** GET /networks/{id}. */
export interface NetworkInspect {
  Name: string;
  Id: string;
  Created: string;
  Scope: string;
  Driver: string;
  EnableIPv4: boolean;
  EnableIPv6: boolean;
  IPAM: { Driver: string; Options: Record<string, string> | null; Config: IpamConfig[] };
  Internal: boolean;
  Attachable: boolean;
  Ingress: boolean;
  ConfigFrom: { Network: string };
  ConfigOnly: boolean;
  Containers?: Record<string, NetworkContainer>;
  Options: Record<string, string>;
  Labels: Record<string, string>;
  Status?: { IPAM: { Subnets: Record<string, { IPsInUse: number; DynamicIPsAvailable: number }> } };
}

export interface NetworkContainer {
  Name: string;
  EndpointID: string;
  MacAddress: string;
  IPv4Address: string;
  IPv6Address: string;
}

/** A port of a container in GET /containers/json. */
export interface PortSummary {
  IP?: string;
  PrivatePort: number;
  PublicPort?: number;
  Type: string;
}

/** Body of POST /containers/create. */
export type CreateRequest = ContainerConfig & {
  HostConfig?: HostConfig;
  NetworkingConfig?: { EndpointsConfig?: Record<string, EndpointSettings> };
};

export interface CreateResponse {
  Id: string;
  Warnings: string[];
}

export type ContainerStatus = "created" | "running" | "paused" | "restarting" | "removing" | "exited" | "dead";

export interface ContainerState {
  Status: ContainerStatus;
  Running: boolean;
  Paused: boolean;
  Restarting: boolean;
  OOMKilled: boolean;
  Dead: boolean;
  Pid: number;
  ExitCode: number;
  Error: string;
  StartedAt: string;
  FinishedAt: string;
  /** Absent without a health check. */
  Health?: Health;
}

export interface MountPoint {
  Type: "bind" | "volume" | "tmpfs" | "image";
  Name?: string;
  Source: string;
  Destination: string;
  Driver?: string;
  Mode: string;
  RW: boolean;
  Propagation: string;
}

/** GET /containers/{id}/json. */
export interface ContainerInspect {
  Id: string;
  Created: string;
  Path: string;
  Args: string[];
  State: ContainerState;
  Image: string;
  ResolvConfPath: string;
  HostnamePath: string;
  HostsPath: string;
  LogPath: string;
  Name: string;
  RestartCount: number;
  Driver: string;
  Platform: string;
  MountLabel: string;
  ProcessLabel: string;
  AppArmorProfile: string;
  ExecIDs: string[] | null;
  HostConfig: HostConfig;
  GraphDriver: { Name: string; Data: Record<string, string> };
  SizeRw?: number;
  SizeRootFs?: number;
  Mounts: MountPoint[];
  Config: ContainerConfig;
  NetworkSettings: object;
}

/** One of GET /containers/json. */
export interface ContainerSummary {
  Id: string;
  Names: string[];
  Image: string;
  ImageID: string;
  Command: string;
  Created: number;
  Ports: PortSummary[];
  Labels: Record<string, string>;
  State: ContainerStatus;
  Status: string;
  HostConfig: { NetworkMode: string; Annotations?: Record<string, string> };
  NetworkSettings: object;
  Mounts: MountPoint[];
  /** Since 1.52. */
  Health?: Pick<Health, "Status" | "FailingStreak">;
  SizeRw?: number;
  SizeRootFs?: number;
}

/** Body of POST /containers/{id}/exec. */
export interface ExecCreateRequest {
  AttachStdin?: boolean;
  AttachStdout?: boolean;
  AttachStderr?: boolean;
  Tty?: boolean;
  Cmd?: string[];
  Env?: string[];
  User?: string;
  WorkingDir?: string;
  Privileged?: boolean;
  DetachKeys?: string;
  ConsoleSize?: [number, number];
}

/** GET /exec/{id}/json. */
export interface ExecInspect {
  ID: string;
  Running: boolean;
  ExitCode: number | null;
  ProcessConfig: { tty: boolean; entrypoint: string; arguments: string[]; privileged: boolean; user?: string };
  OpenStdin: boolean;
  OpenStderr: boolean;
  OpenStdout: boolean;
  CanRemove: boolean;
  ContainerID: string;
  DetachKeys: string;
  Pid: number;
}

/** POST /containers/{id}/wait. */
export interface WaitResponse {
  StatusCode: number;
  Error?: { Message: string } | null;
}

/** One of GET /containers/{id}/changes. Kind: 0 modified, 1 added, 2 deleted. */
export interface Change {
  Path: string;
  Kind: 0 | 1 | 2;
}

/** One of GET /images/json. */
export interface ImageSummary {
  Id: string;
  ParentId: string;
  RepoTags: string[];
  RepoDigests: string[];
  Created: number;
  Size: number;
  SharedSize: number;
  Labels: Record<string, string>;
  Containers: number;
}

/** GET /images/{name}/json. */
export interface ImageInspect {
  Id: string;
  RepoTags: string[];
  RepoDigests: string[];
  Parent: string;
  Comment: string;
  Created: string;
  Author: string;
  Config: ContainerConfig;
  Architecture: string;
  Variant?: string;
  Os: string;
  Size: number;
  GraphDriver: { Name: string; Data: Record<string, string> };
  RootFS: { Type: "layers"; Layers: string[] };
  Metadata: { LastTagTime: string };
}

/** One entry of GET /images/{name}/history. */
export interface HistoryEntry {
  Id: string;
  /** Unix seconds. */
  Created: number;
  CreatedBy: string;
  Tags: string[] | null;
  Size: number;
  Comment: string;
}

/** GET /containers/{id}/stats; times in nanoseconds, sizes in bytes. What a container does not have is absent. */
export interface ContainerStats {
  id: string;
  /** With a leading slash. */
  name: string;
  read: string;
  preread: string;
  pids_stats: { current?: number; limit?: number };
  blkio_stats: Record<string, BlkioEntry[] | null>;
  cpu_stats: ContainerCpuStats;
  precpu_stats: ContainerCpuStats;
  memory_stats: {
    usage?: number;
    limit?: number;
    max_usage?: number;
    failcnt?: number;
    stats?: Record<string, number>;
  };
  networks?: Record<string, { rx_bytes: number; tx_bytes: number }>;
}

export interface BlkioEntry {
  major: number;
  minor: number;
  op: string;
  value: number;
}

export interface ContainerCpuStats {
  cpu_usage: {
    total_usage: number;
    percpu_usage?: number[];
    usage_in_kernelmode: number;
    usage_in_usermode: number;
  };
  /** Of the whole machine. */
  system_cpu_usage?: number;
  online_cpus?: number;
  throttling_data: { periods: number; throttled_periods: number; throttled_time: number };
}

/** One object of GET /events. */
export interface EventMessage {
  Type: "container" | "image" | "volume" | "network" | "daemon" | "builder";
  Action: string;
  Actor: { ID: string; Attributes: Record<string, string> };
  scope: "local";
  /** Seconds. */
  time: number;
  /** Nanoseconds; beyond what a double holds exactly, docker's clients read it so. */
  timeNano: number;
}

/** GET /volumes/{name}. */
export interface Volume {
  CreatedAt: string;
  Driver: string;
  Labels: Record<string, string> | null;
  Mountpoint: string;
  Name: string;
  Options: Record<string, string> | null;
  Scope: string;
  Status?: Record<string, unknown>;
  /** In /system/df alone; -1 where it is not known. */
  UsageData?: { Size: number; RefCount: number };
}

/** POST /volumes/prune. */
export interface VolumePruneResponse {
  VolumesDeleted: string[];
  /** Bytes. */
  SpaceReclaimed: number;
}

/** One object of a progress stream (images/create, images/load); CRLF between objects. */
export interface StreamMessage {
  stream?: string;
  status?: string;
  id?: string;
  progressDetail?: { current?: number; total?: number };
  error?: string;
  errorDetail?: { code?: number; message: string };
  aux?: object;
}

/** What `X-Docker-Container-Path-Stat` holds, in base64 (Engine API, "ContainerArchiveInfo"). */
export interface PathStat {
  name: string;
  size: number;
  /** Go's os.FileMode. */
  mode: number;
  /** RFC 3339. */
  mtime: string;
  /** Where a symlink leads in the end, as a path of the container; "" for what is none. */
  linkTarget: string;
}

/** GET /distribution/{name}/json */
export interface DistributionInspect {
  Descriptor: Descriptor;
  Platforms: Platform[];
}

/** GET and PUT /inro/distribution/{name}/manifest, inro's own. */
export interface RegistryManifest {
  Descriptor: Descriptor;
  /** Its bytes in base64. */
  Manifest: string;
}

/** GET /inro/distribution/{name}/referrers, inro's own. */
export interface ImageReferrers {
  Descriptor: Descriptor;
  Referrers: Descriptor[];
}

/** `GET /images/search`: one of the list. */
export interface SearchResult {
  name: string;
  description: string;
  star_count: number;
  is_official: boolean;
  is_automated: boolean;
}
