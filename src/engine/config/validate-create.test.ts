import { describe, expect, test } from "bun:test";
import { type ErrorKind, InroError } from "../../base/errors.ts";
import { FACTS } from "./fixture.ts";
import type { HostFacts } from "./host-facts.ts";
import { requestedImage, validateCreate } from "./validate-create.ts";

const BASE = { Image: "busybox", Cmd: ["sh"] };
const host = (HostConfig: object) => ({ ...BASE, HostConfig });
const create = (body: unknown, facts: HostFacts = FACTS) => validateCreate(body, undefined, facts);

function failure(run: () => unknown): { kind: ErrorKind; message: string } {
  try {
    run();
  } catch (error) {
    if (!(error instanceof InroError)) throw error;
    return { kind: error.kind, message: error.message };
  }
  throw new Error("nothing was refused");
}

// What the docker CLI 28.2 sends for `docker create busybox`, in full.
const FROM_CLI = {
  Hostname: "",
  Domainname: "",
  User: "",
  AttachStdin: false,
  AttachStdout: true,
  AttachStderr: true,
  Tty: false,
  OpenStdin: false,
  StdinOnce: false,
  Env: null,
  Cmd: null,
  Image: "busybox",
  Volumes: {},
  WorkingDir: "",
  Entrypoint: null,
  OnBuild: null,
  Labels: {},
  HostConfig: {
    Binds: null,
    ContainerIDFile: "",
    LogConfig: { Type: "", Config: {} },
    NetworkMode: "default",
    PortBindings: {},
    RestartPolicy: { Name: "no", MaximumRetryCount: 0 },
    AutoRemove: false,
    VolumeDriver: "",
    VolumesFrom: null,
    ConsoleSize: [0, 0],
    CapAdd: null,
    CapDrop: null,
    CgroupnsMode: "",
    Dns: [],
    DnsOptions: [],
    DnsSearch: [],
    ExtraHosts: null,
    GroupAdd: null,
    IpcMode: "",
    Cgroup: "",
    Links: null,
    OomScoreAdj: 0,
    PidMode: "",
    Privileged: false,
    PublishAllPorts: false,
    ReadonlyRootfs: false,
    SecurityOpt: null,
    UTSMode: "",
    UsernsMode: "",
    ShmSize: 0,
    Isolation: "",
    CpuShares: 0,
    Memory: 0,
    NanoCpus: 0,
    CgroupParent: "",
    BlkioWeight: 0,
    BlkioWeightDevice: [],
    BlkioDeviceReadBps: [],
    BlkioDeviceWriteBps: [],
    BlkioDeviceReadIOps: [],
    BlkioDeviceWriteIOps: [],
    CpuPeriod: 0,
    CpuQuota: 0,
    CpuRealtimePeriod: 0,
    CpuRealtimeRuntime: 0,
    CpusetCpus: "",
    CpusetMems: "",
    Devices: [],
    DeviceCgroupRules: null,
    DeviceRequests: null,
    MemoryReservation: 0,
    MemorySwap: 0,
    MemorySwappiness: -1,
    OomKillDisable: false,
    PidsLimit: 0,
    Ulimits: [],
    CpuCount: 0,
    CpuPercent: 0,
    IOMaximumIOps: 0,
    IOMaximumBandwidth: 0,
    MaskedPaths: null,
    ReadonlyPaths: null,
  },
  NetworkingConfig: { EndpointsConfig: { default: { IPAMConfig: null, MacAddress: "", IPPrefixLen: 0, Links: null } } },
};

describe("accepted", () => {
  test("the docker CLI's request, completed", () => {
    const { config, host, warnings } = validateCreate(FROM_CLI, { Cmd: ["sh"], Env: ["PATH=/bin"] }, FACTS);
    expect(config).toMatchObject({ Image: "busybox", Cmd: ["sh"], Env: ["PATH=/bin"], AttachStdout: true, Labels: {} });
    expect(host).toMatchObject({
      NetworkMode: "bridge",
      IpcMode: "private",
      CgroupnsMode: "private",
      ShmSize: 67108864,
      LogConfig: { Type: "json-file", Config: {} },
      RestartPolicy: { Name: "no", MaximumRetryCount: 0 },
      MaskedPaths: [...FACTS.maskedPaths],
      ReadonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    });
    expect(host).not.toHaveProperty("MemorySwappiness");
    expect(warnings).toEqual([]);
  });

  test("the smallest request; a command as one string; unknown fields are left out", () => {
    const { config } = create({ Image: "x", Cmd: "ls -l", Nonsense: 1 });
    expect(config.Cmd).toEqual(["ls -l"]);
    expect(config).not.toHaveProperty("Nonsense");
  });

  test("a label named __proto__ stays a label", () => {
    const { config } = create(JSON.parse('{"Image":"x","Cmd":["a"],"Labels":{"__proto__":"p"}}'));
    expect(Object.keys(config.Labels ?? {})).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf(config.Labels)).toBe(Object.prototype);
  });

  test("memory without swap gets twice itself; swap -1 stays", () => {
    expect(create(host({ Memory: 64 << 20 })).host.MemorySwap).toBe(128 << 20);
    expect(create(host({ Memory: 64 << 20, MemorySwap: -1 })).host.MemorySwap).toBe(-1);
  });

  test("privileged and systempaths=unconfined have no masked paths", () => {
    for (const given of [{ Privileged: true }, { SecurityOpt: ["systempaths=unconfined"] }]) {
      expect(create(host(given)).host).toMatchObject({ MaskedPaths: [], ReadonlyPaths: [] });
    }
  });

  test.each([
    [{}, { NetworkMode: "host", PublishAllPorts: true }, "published ports are discarded"],
    [{}, { Runtime: "runc" }, "runtime runc is inro's own"],
    [{}, { OomKillDisable: true }, "does not support OomKillDisable"],
    [{}, { MemorySwappiness: 10 }, "MemorySwappiness discarded"],
    [{}, { KernelMemory: 10 }, "KernelMemory discarded"],
  ])("warning for %j %j", (config, HostConfig, text) => {
    const { warnings } = create({ ...BASE, ...config, HostConfig });
    expect(warnings).toEqual([expect.stringContaining(text)]);
  });

  test("limits that this kernel cannot hold are dropped with a warning", () => {
    const facts = { ...FACTS, swapLimit: false, blkioWeight: false };
    const BlkioWeightDevice = [{ Path: "/dev/sda", Weight: 500 }];
    const { host: limits, warnings } = create(host({ Memory: 64 << 20, BlkioWeight: 500, BlkioWeightDevice }), facts);
    expect(limits).toMatchObject({ MemorySwap: -1, BlkioWeight: 0, BlkioWeightDevice: [] });
    expect(warnings).toHaveLength(3);
    expect(() => create(host({ CpuRealtimeRuntime: 1000 }), { ...FACTS, cpuRealtime: false })).toThrow(
      "your kernel does not support CPU real-time scheduler",
    );
  });
});

test("requestedImage", () => {
  expect(requestedImage({ Image: "busybox", Cmd: 7 })).toBe("busybox");
  expect(failure(() => requestedImage({}))).toEqual({ kind: "invalid", message: "no image specified" });
});

const REFUSED: [unknown, string][] = [
  [null, "invalid JSON: the request body: expected an object, got null"],
  ["x", "invalid JSON: the request body: expected an object, got a string"],
  [{ ...BASE, Tty: "yes" }, "invalid JSON: Tty: expected a boolean, got a string"],
  [{ ...BASE, Env: ["A=1", 2] }, "invalid JSON: Env[1]: expected a string, got a number"],
  [{ ...BASE, Env: ["A=\0"] }, "Env[0]: contains a NUL byte"],
  [{ ...BASE, Labels: { a: 1 } }, "invalid JSON: Labels.a: expected a string, got a number"],
  [{ ...BASE, StopTimeout: 1.5 }, "invalid JSON: StopTimeout: 1.5 is not an integer below 2^53"],
  [{ ...BASE, HostConfig: [] }, "invalid JSON: HostConfig: expected an object, got an array"],
  [host({ Memory: "64m" }), "invalid JSON: HostConfig.Memory: expected an integer, got a string"],
  [host({ Mounts: [{ Type: "bind" }] }), 'invalid mount config for type "bind": field Target must not be empty'],
  [host({ Devices: [{}] }), "HostConfig.Devices[0]: field PathOnHost must not be empty"],
  [{ Image: "x" }, "no command specified"],
  [{ Image: "x", Cmd: [""] }, "no command specified"],
  [{ Image: "x", Entrypoint: [""] }, "no command specified"],
  [{ ...BASE, Env: ["=x"] }, "invalid environment variable: =x"],
  [{ ...BASE, User: "a\nb" }, 'invalid user "a\\nb": expected name|uid[:group|gid]'],
  [{ ...BASE, WorkingDir: "srv" }, "the working directory 'srv' is invalid, it needs to be an absolute path"],
  [{ ...BASE, StopSignal: "SIGTREM" }, "invalid signal: SIGTREM (did you mean SIGTERM?)"],
  [{ ...BASE, StopTimeout: -2 }, "invalid stop timeout -2, use -1 to wait for ever"],
  [{ ...BASE, ExposedPorts: { "70000/tcp": {} } }, 'invalid port specification: "70000/tcp"'],
  [{ ...BASE, Hostname: "a\nb" }, 'invalid hostname format: "a\\nb"'],
  [{ ...BASE, Hostname: "a".repeat(65) }, `invalid hostname format: "${"a".repeat(65)}"`],
  [{ ...BASE, Volumes: { "/": {} } }, "invalid specification: destination can't be '/'"],
  [
    { ...BASE, Healthcheck: { Test: ["RUN", "x"] } },
    'unknown type "RUN" in healthcheck, expected NONE, CMD, CMD-SHELL, HTTP or TCP',
  ],
  [{ ...BASE, Healthcheck: { Interval: 5 } }, "Interval in Healthcheck cannot be less than 1ms"],
  [host({ Memory: 1024 }), "minimum memory limit allowed is 6MB"],
  [host({ MemorySwap: 1024 }), "you should always set the memory limit when using memoryswap limit, see usage"],
  [
    host({ Memory: 8 << 20, MemorySwap: 7 << 20 }),
    "minimum memoryswap limit should be larger than memory limit, see usage",
  ],
  [
    host({ Memory: 8 << 20, MemoryReservation: 9 << 20 }),
    "minimum memory limit can not be less than memory reservation limit, see usage",
  ],
  [host({ MemorySwappiness: 101 }), "invalid value: 101, valid memory swappiness range is 0-100"],
  [host({ NanoCpus: 3e9 }), "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"],
  [host({ NanoCpus: 1e9, CpuQuota: 5000 }), "conflicting options: Nano CPUs and CPU Quota cannot both be set"],
  [host({ CpuPeriod: 10 }), "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"],
  [host({ CpuQuota: 10 }), "CPU cfs quota can not be less than 1ms (i.e. 1000)"],
  [host({ CpuShares: -1 }), "invalid CPU shares (-1): value must be a positive integer"],
  [host({ CpusetCpus: "0-7" }), "requested CPUs are not available - requested 0-7, available: 0-1"],
  [host({ CpusetCpus: "a" }), "invalid value a for cpuset cpus"],
  [host({ CpusetMems: "1" }), "requested memory nodes are not available - requested 1, available: 0"],
  [host({ BlkioWeight: 5 }), "range of blkio weight is from 10 to 1000"],
  [
    host({ BlkioWeightDevice: [{ Path: "/dev/sda", Weight: 5 }] }),
    "range of blkio weight is from 10 to 1000, but that of /dev/sda is 5",
  ],
  [host({ BlkioWeightDevice: [{ Path: "sda", Weight: 50 }] }), "BlkioWeightDevice: device path 'sda' must be absolute"],
  [
    host({ CpuRealtimePeriod: 1000, CpuRealtimeRuntime: 2000 }),
    "cpu real-time runtime cannot be higher than cpu real-time period",
  ],
  [host({ Isolation: "hyperv" }), "invalid isolation (hyperv): this platform has only 'default'"],
  [
    host({ StorageOpt: { size: "10G" } }),
    "storage option size is not supported: it needs a file system with project quotas",
  ],
  [host({ StorageOpt: { a: "b" } }), "unknown storage option a"],
  [host({ ShmSize: -1 }), "SHM size can not be less than 0"],
  [host({ OomScoreAdj: 2000 }), "invalid value 2000, range for oom score adj is [-1000, 1000]"],
  [host({ PidMode: "x" }), "invalid PID mode: x"],
  [host({ IpcMode: "container:" }), "invalid IPC mode: container:: invalid container name or id"],
  [host({ UTSMode: "container:a" }), "invalid UTS mode: container:a"],
  [host({ CgroupnsMode: "x" }), "invalid cgroup namespace mode: x"],
  [host({ UsernsMode: "x" }), "invalid USER mode: x"],
  [host({ UsernsMode: "auto:size=10" }), "invalid USER mode: auto:size=10: the size must be from 1024 to 16777216"],
  [
    host({ UsernsMode: "auto", Privileged: true }),
    "privileged mode is incompatible with user namespaces: run the container in the host's user namespace (userns host)",
  ],
  [
    host({ UsernsMode: "auto", NetworkMode: "host" }),
    "cannot share the host's network namespace when user namespaces are enabled",
  ],
  [
    host({ UsernsMode: "private", PidMode: "container:a" }),
    "cannot share another container's pid namespace when user namespaces are enabled",
  ],
  [
    { ...host({ UsernsMode: "auto" }), Image: "host" },
    "the image host is incompatible with user namespaces: its files belong to the host's users",
  ],
  [
    host({ UsernsMode: "auto", SecurityOpt: ["writable-cgroups=true"] }),
    "option WritableCgroups conflicts with user namespaces",
  ],
  [{ ...host({ NetworkMode: "container:a" }), Hostname: "b" }, "conflicting options: hostname and the network mode"],
  [{ ...host({ UTSMode: "host" }), Hostname: "b" }, "conflicting options: hostname and the UTS mode"],
  [host({ Binds: ["/a:/x", "/b:/x/"] }), "Duplicate mount point: /x"],
  [host({ Tmpfs: { "/x": "" }, Binds: ["/a:/x"] }), "Duplicate mount point: /x"],
  [host({ Tmpfs: { "/x": "bind" } }), 'invalid tmpfs option "bind"'],
  [
    host({ Mounts: [{ Type: "volume", Target: "/x", BindOptions: {} }] }),
    'invalid mount config for type "volume": field BindOptions must not be specified',
  ],
  [
    host({ Mounts: [{ Type: "volume", Source: "v1", Target: "/x", VolumeOptions: { Subpath: "../y" } }] }),
    'invalid mount config for type "volume": subpath must be a relative path within the volume',
  ],
  [host({ Mounts: [{ Type: "foo", Target: "/x" }] }), 'invalid mount config for type "foo": mount type unknown'],
  [host({ CapAdd: ["FOO_BAR_BAZ"] }), 'unknown capability "FOO_BAR_BAZ"'],
  [host({ SecurityOpt: ["foo"] }), 'invalid --security-opt: "foo"'],
  [
    host({ SecurityOpt: ["apparmor=mine"] }),
    "AppArmor is not supported on this host, but the profile 'mine' was specified",
  ],
  [
    host({ SecurityOpt: ["label=type:x"] }),
    "SELinux is not enabled on this host, but the label 'type:x' was specified",
  ],
  [host({ Ulimits: [{ Name: "nofiles", Soft: 1, Hard: 1 }] }), "invalid ulimit type: nofiles (did you mean nofile?)"],
  [
    host({ Ulimits: [{ Name: "core", Soft: 2, Hard: 1 }] }),
    "ulimit core: soft limit must be less than or equal to hard limit: 2 > 1",
  ],
  [
    host({ Ulimits: [{ Name: "nofile", Soft: 1, Hard: 9999 }] }),
    "ulimit nofile: hard limit 9999 is above the engine's own 4096, and it lacks CAP_SYS_RESOURCE",
  ],
  [host({ DeviceCgroupRules: ["x"] }), "invalid device cgroup rule format: 'x'"],
  [host({ Devices: [{ PathOnHost: "sda" }] }), "invalid device path: 'sda' must be absolute"],
  [host({ Devices: [{ PathOnHost: "/dev/sda", CgroupPermissions: "rx" }] }), "bad mode specified: rx"],
  [host({ Sysctls: { "kernel.panic": "1" } }), 'sysctl "kernel.panic" is not in a separate kernel namespace'],
  [
    host({ Sysctls: { "net.core.somaxconn": "1" }, NetworkMode: "host" }),
    'sysctl "net.core.somaxconn" is not allowed without an own network namespace',
  ],
  [
    host({ Sysctls: { "kernel.msgmax": "1" }, IpcMode: "host" }),
    'sysctl "kernel.msgmax" is not allowed without an own ipc namespace',
  ],
  [host({ Sysctls: { "net/../kernel/panic": "1" } }), 'invalid sysctl "net/../kernel/panic"'],
  [host({ CgroupParent: "../x" }), 'invalid cgroup parent "../x"'],
  [host({ ExtraHosts: ["a"] }), 'bad format for add-host: "a"'],
  [host({ ExtraHosts: ["a:1.2.3"] }), 'invalid IP address in add-host: "a:1.2.3"'],
  [host({ ExtraHosts: ["a b:1.2.3.4"] }), 'bad format for add-host: "a b:1.2.3.4"'],
  [host({ Annotations: { "": "x" } }), "invalid Annotations: the empty string is not permitted as an annotation key"],
  [host({ MaskedPaths: ["proc"] }), 'invalid masked or read-only path "proc"'],
  [host({ LogConfig: { Config: { foo: "1" } } }), "unknown log opt 'foo' for json-file log driver"],
  [host({ LogConfig: { Config: { "max-size": "x" } } }), "failed to initialize logging driver: invalid size: 'x'"],
  [
    host({ RestartPolicy: { Name: "maybe" } }),
    "invalid restart policy: unknown policy 'maybe'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
  ],
  [
    host({ RestartPolicy: { Name: "always" }, AutoRemove: true }),
    "can't create 'AutoRemove' container with restart policy",
  ],
  [host({ Runtime: "kata" }), "unknown or invalid runtime name: kata"],
];

test.each(REFUSED)("invalid: %j", (body, message) => {
  expect(failure(() => create(body))).toEqual({ kind: "invalid", message });
});

test.each([[host({ DeviceRequests: [{ Count: -1, Capabilities: [["gpu"]] }] }), "could not select device driver"]])(
  "not there yet: %j",
  (body, text) => {
    const { kind, message } = failure(() => create(body));
    expect(kind).toBe("notImplemented");
    expect(message).toContain(text);
  },
);
