import { type Parameter, parameters } from "./routes.ts";

/**
 * Bodies, field by field: `[x]` is a list of x, `{x}` a map to x, a capital letter another schema, all else a type of
 * values.ts.
 */
const TEXT: Record<string, string> = {
  Config: `
    Hostname:host Domainname:host User:user AttachStdin:bool AttachStdout:bool AttachStderr:bool ExposedPorts:{none}
    Tty:bool OpenStdin:bool StdinOnce:bool Env:[env] Healthcheck:Health ArgsEscaped:bool Volumes:{none} WorkingDir:path
    Entrypoint:[command] NetworkDisabled:bool OnBuild:[text] Labels:{text} StopSignal:signal StopTimeout:seconds
    Shell:[text] MacAddress:text
  `,
  Create: `
    Image:image Cmd:command Hostname:host Domainname:host User:user AttachStdin:bool AttachStdout:bool AttachStderr:bool
    ExposedPorts:{none} Tty:bool OpenStdin:bool StdinOnce:bool Env:[env] Healthcheck:Health Volumes:{none}
    WorkingDir:path NetworkDisabled:bool Labels:{text} StopSignal:signal StopTimeout:seconds
    HostConfig:Host NetworkingConfig:Networking
  `,
  Health: "Test:[healthTest] Interval:int Timeout:int Retries:int StartPeriod:int StartInterval:int",
  Host: `
    Binds:[bind] ContainerIDFile:text LogConfig:Log NetworkMode:networkMode PortBindings:{ports} RestartPolicy:Restart
    AutoRemove:bool VolumeDriver:driver VolumesFrom:[volumesFrom] Mounts:[Mount] ConsoleSize:[int] Annotations:{text}
    CapAdd:[capability] CapDrop:[capability] CgroupnsMode:mode Dns:[address] DnsOptions:[text] DnsSearch:[text]
    ExtraHosts:[extraHost] GroupAdd:[user] IpcMode:mode Cgroup:mode Links:[link] OomScoreAdj:int PidMode:mode Privileged:bool
    PublishAllPorts:bool ReadonlyRootfs:bool SecurityOpt:[securityOption] StorageOpt:{text} Tmpfs:{tmpfs} UTSMode:mode
    UsernsMode:userns ShmSize:bytes Sysctls:{text} Runtime:runtime Isolation:text MaskedPaths:[path] ReadonlyPaths:[path]
    CpuShares:int Memory:bytes CgroupParent:cgroupParent BlkioWeight:int BlkioWeightDevice:[Weight]
    BlkioDeviceReadBps:[Throttle] BlkioDeviceWriteBps:[Throttle] BlkioDeviceReadIOps:[Throttle] CpuPeriod:int
    CpuQuota:int CpuRealtimePeriod:int CpuRealtimeRuntime:int CpusetCpus:cpus CpusetMems:cpus Devices:[Device]
    DeviceCgroupRules:[deviceRule] DeviceRequests:[Request] MemoryReservation:bytes MemorySwap:bytes
    MemorySwappiness:int NanoCpus:int OomKillDisable:bool Init:bool PidsLimit:int Ulimits:[Ulimit] CpuCount:int
  `,
  Update: `
    CpuShares:int Memory:bytes BlkioWeight:int BlkioWeightDevice:[Weight] BlkioDeviceReadBps:[Throttle] CpuPeriod:int
    CpuQuota:int CpuRealtimePeriod:int CpusetCpus:cpus CpusetMems:cpus MemoryReservation:bytes MemorySwap:bytes
    NanoCpus:int PidsLimit:int RestartPolicy:Restart Init:bool
  `,
  Log: "Type:logDriver Config:{logOption}",
  Restart: "Name:restart MaximumRetryCount:int",
  Mount: `
    Target:path Source:volume Type:mountType ReadOnly:bool Consistency:text BindOptions:BindOptions
    VolumeOptions:VolumeOptions TmpfsOptions:TmpfsOptions ImageOptions:ImageOptions
  `,
  BindOptions: "Propagation:propagation NonRecursive:bool CreateMountpoint:bool ReadOnlyNonRecursive:bool",
  VolumeOptions: "NoCopy:bool Labels:{text} DriverConfig:DriverConfig Subpath:path",
  DriverConfig: "Name:driver Options:{text}",
  ImageOptions: "Subpath:path",
  TmpfsOptions: "SizeBytes:bytes Mode:int",
  Weight: "Path:device Weight:int",
  Throttle: "Path:device Rate:int",
  Device: "PathOnHost:device PathInContainer:path CgroupPermissions:access",
  Request: "Driver:text Count:int DeviceIDs:[text] Capabilities:[text] Options:{text}",
  Ulimit: "Name:ulimit Soft:int Hard:int",
  Networking: "EndpointsConfig:{Endpoint}",
  Endpoint: "Aliases:[alias] Links:[text] MacAddress:mac DriverOpts:{text} IPAMConfig:EndpointAddress GwPriority:int",
  EndpointAddress: "IPv4Address:address IPv6Address:address LinkLocalIPs:[address]",
  ExecConfig: `
    AttachStdin:bool AttachStdout:bool AttachStderr:bool ConsoleSize:[int] DetachKeys:keys Tty:bool Env:[env] Cmd:command
    Privileged:bool User:user WorkingDir:path
  `,
  ExecStart: "Detach:bool Tty:bool ConsoleSize:[int]",
  VolumeCreate: "Name:volume Driver:driver DriverOpts:{text} Labels:{text}",
  VolumeCopy: "Name:volume Snapshot:volume Labels:{text} Force:bool",
  NetworkCreate: `
    Name:network Driver:networkDriver Scope:text Internal:bool Attachable:bool Ingress:bool ConfigOnly:bool
    EnableIPv4:bool EnableIPv6:bool IPAM:Ipam Options:{networkOption} Labels:{text}
  `,
  Ipam: "Driver:text Config:[IpamConfig] Options:{text}",
  IpamConfig: "Subnet:subnet IPRange:subnet Gateway:address AuxiliaryAddresses:{address}",
  NetworkConnect: "Container:container EndpointConfig:Endpoint",
  NetworkDisconnect: "Container:container Force:bool",
  AuthConfig: "username:text password:text serveraddress:noRegistry",
};

export const SCHEMAS: ReadonlyMap<string, Parameter[]> = new Map(
  Object.entries(TEXT).map(([name, text]) => [name, parameters(text.replace(/\s+/g, " "))]),
);
