import { absolute, anything, boolean, i32, i64, integer, list, map, object, oneOf, text, u32, u64 } from "./check.ts";

/** runtime-spec config.md and config-linux.md: types, and what is required. */

const idMapping = object({ "containerID!": u32, "hostID!": u32, "size!": u32 });
const hook = object({ "path!": absolute, args: list(text), env: list(text), timeout: integer(1, 2 ** 31) });
const throttle = list(object({ "major!": i64, "minor!": i64, "rate!": u64 }));
const fileMode = integer(0, 0o177777);

const RLIMITS =
  "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME".split(" ");

export const processSchema = object({
  terminal: boolean,
  consoleSize: object({ "height!": integer(0, 65535), "width!": integer(0, 65535) }),
  user: object({ uid: u32, gid: u32, umask: integer(0, 0o7777), additionalGids: list(u32) }),
  args: list(text),
  env: list(text),
  "cwd!": absolute,
  capabilities: object({
    bounding: list(text),
    effective: list(text),
    inheritable: list(text),
    permitted: list(text),
    ambient: list(text),
  }),
  rlimits: list(object({ "type!": oneOf(...RLIMITS.map((name) => `RLIMIT_${name}`)), "soft!": u64, "hard!": u64 })),
  noNewPrivileges: boolean,
  apparmorProfile: text,
  selinuxLabel: text,
  oomScoreAdj: integer(-1000, 1000),
  scheduler: object({
    "policy!": text,
    nice: i32,
    priority: i32,
    flags: list(text),
    runtime: u64,
    deadline: u64,
    period: u64,
  }),
  ioPriority: object({
    "class!": oneOf("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"),
    "priority!": integer(0, 7),
  }),
  execCPUAffinity: object({ initial: text, final: text }),
});

export const resourcesSchema = object({
  devices: list(
    object({ "allow!": boolean, type: oneOf("a", "b", "c", "p", "u"), major: i64, minor: i64, access: text }),
  ),
  memory: object({
    limit: i64,
    reservation: i64,
    swap: i64,
    swappiness: integer(0, 100),
    disableOOMKiller: boolean,
    useHierarchy: boolean,
    kernel: i64,
    kernelTCP: i64,
    checkBeforeUpdate: boolean,
  }),
  cpu: object({
    shares: u64,
    quota: i64,
    burst: u64,
    period: u64,
    realtimeRuntime: i64,
    realtimePeriod: u64,
    cpus: text,
    mems: text,
    idle: i64,
  }),
  pids: object({ limit: i64 }),
  blockIO: object({
    weight: integer(0, 65535),
    leafWeight: integer(0, 65535),
    weightDevice: list(
      object({ "major!": i64, "minor!": i64, weight: integer(0, 65535), leafWeight: integer(0, 65535) }),
    ),
    throttleReadBpsDevice: throttle,
    throttleWriteBpsDevice: throttle,
    throttleReadIOPSDevice: throttle,
    throttleWriteIOPSDevice: throttle,
  }),
  hugepageLimits: list(object({ "pageSize!": text, "limit!": u64 })),
  network: object({ classID: u32, priorities: list(object({ "name!": text, "priority!": u32 })) }),
  rdma: map(object({ hcaHandles: u32, hcaObjects: u32 })),
  unified: map(text),
});

export const specSchema = object({
  "ociVersion!": text,
  "root!": object({ "path!": text, readonly: boolean }),
  mounts: list(
    object({
      "destination!": text,
      type: text,
      source: text,
      options: list(text),
      uidMappings: list(idMapping),
      gidMappings: list(idMapping),
    }),
  ),
  process: processSchema,
  hostname: text,
  domainname: text,
  hooks: object({
    prestart: list(hook),
    createRuntime: list(hook),
    createContainer: list(hook),
    startContainer: list(hook),
    poststart: list(hook),
    poststop: list(hook),
  }),
  annotations: map(text),
  linux: object({
    namespaces: list(
      object({
        "type!": oneOf("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"),
        path: text,
      }),
    ),
    uidMappings: list(idMapping),
    gidMappings: list(idMapping),
    timeOffsets: map(object({ secs: i64, nanosecs: u32 })),
    devices: list(
      object({
        "path!": absolute,
        "type!": oneOf("c", "b", "u", "p"),
        major: i64,
        minor: i64,
        fileMode,
        uid: u32,
        gid: u32,
      }),
    ),
    cgroupsPath: text,
    resources: resourcesSchema,
    rootfsPropagation: text,
    seccomp: anything,
    sysctl: map(text),
    maskedPaths: list(absolute),
    readonlyPaths: list(absolute),
    mountLabel: text,
    personality: object({ "domain!": text, flags: list(text) }),
    intelRdt: object({
      closID: text,
      l3CacheSchema: text,
      memBwSchema: text,
      schemata: list(text),
      enableMonitoring: boolean,
    }),
    netDevices: map(object({ name: text })),
    memoryPolicy: object({ "mode!": text, nodes: text, flags: list(text) }),
  }),
});
