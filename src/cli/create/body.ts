import type { CreateRequest, HostConfig } from "../../spec/docker-api.ts";
import { ExitError } from "../command.ts";
import type { Options } from "../flags.ts";
import { parseDevice } from "./devices.ts";
import { environment, labels, toMap } from "./environment.ts";
import { WINDOWS_FLAGS } from "./flags.ts";
import { isCdiDevice } from "./gpus.ts";
import { healthConfig } from "./health.ts";
import { LIMITS, type Limits, setFields } from "./limits.ts";
import { parseTmpfs, parseVolumes } from "./mounts.ts";
import { networking } from "./network.ts";
import { parseRestartPolicy } from "./restart.ts";
import { securityOptions } from "./security.ts";

const fail = (message: string): never => {
  throw new ExitError(125, message);
};

/**
 * Turns the options of create and run, the image and its command into the body of POST /containers/create. Only what
 * was said is set; the engine has the defaults. Wrong combinations are an ExitError 125 with docker's words.
 */
export function createBody(options: Options, image: string, command: readonly string[]): CreateRequest {
  const tty = options.bool("tty");
  const stdin = options.bool("interactive");
  const attach = options.list("attach");
  const everything = attach.length === 0;
  const attachStdin = everything ? stdin : attach.includes("stdin");
  const detached = options.bool("detach");
  if (detached && !everything) throw new ExitError(1, "conflicting options: cannot specify both --attach and --detach");

  const body: CreateRequest = {
    Image: image,
    AttachStdin: !detached && attachStdin,
    AttachStdout: !detached && (everything || attach.includes("stdout")),
    AttachStderr: !detached && (everything || attach.includes("stderr")),
    Tty: tty,
    OpenStdin: stdin,
    // Without it an attached client that goes away would leave the process waiting for input.
    StdinOnce: stdin && attachStdin && !detached,
    Env: environment(options.list("env-file"), options.list("env")),
    Labels: labels(options.list("label-file"), options.list("label")),
    HostConfig: hostConfig(options),
  };
  const network = networking(options);
  Object.assign(body, network.config);
  Object.assign(body.HostConfig!, network.host);
  if (Object.keys(network.endpoints).length > 0) body.NetworkingConfig = { EndpointsConfig: network.endpoints };
  if (command.length > 0) body.Cmd = [...command];
  if (options.has("entrypoint")) body.Entrypoint = [options.string("entrypoint")];
  const health = healthConfig(options);
  if (health) body.Healthcheck = health;
  setFields(options, body, {
    Hostname: "hostname",
    Domainname: "domainname",
    User: "user",
    WorkingDir: "workdir",
    StopSignal: "stop-signal",
  });
  if (options.has("stop-timeout")) body.StopTimeout = options.number("stop-timeout")!;
  const { binds, volumes } = parseVolumes(options.list("volume"));
  if (binds.length > 0) body.HostConfig!.Binds = binds;
  if (Object.keys(volumes).length > 0) body.Volumes = volumes;
  return body;
}

/** What the engine may not know yet, and is asked for all the same: it says so then. */
type Further = "BlkioWeightDevice" | "DeviceRequests" | "Isolation" | "KernelMemory" | "StorageOpt";

function hostConfig(options: Options): HostConfig {
  checkModes(options);
  const host: HostConfig & Limits & Partial<Record<Further, unknown>> = {};
  setFields(options, host, {
    ...LIMITS,
    AutoRemove: "rm",
    Privileged: "privileged",
    ReadonlyRootfs: "read-only",
    Init: "init",
    RestartOnUnhealthy: "restart-on-unhealthy",
    TTL: "ttl",
    IdleTTL: "idle-ttl",
    Egress: "egress",
    Bandwidth: "bandwidth",
    UsernsMode: "userns",
    PidMode: "pid",
    IpcMode: "ipc",
    UTSMode: "uts",
    CgroupnsMode: "cgroupns",
    CgroupParent: "cgroup-parent",
    Runtime: "runtime",
    MemorySwappiness: "memory-swappiness",
    OomKillDisable: "oom-kill-disable",
    OomScoreAdj: "oom-score-adj",
    BlkioWeightDevice: "blkio-weight-device",
    Isolation: "isolation",
    KernelMemory: "kernel-memory",
    ShmSize: "shm-size",
    CapAdd: "cap-add",
    CapDrop: "cap-drop",
    GroupAdd: "group-add",
    ExtraHosts: "add-host",
    Ulimits: "ulimit",
    Mounts: "mount",
    VolumesFrom: "volumes-from",
    VolumeDriver: "volume-driver",
    DeviceCgroupRules: "device-cgroup-rule",
    BlkioDeviceReadBps: "device-read-bps",
    BlkioDeviceWriteBps: "device-write-bps",
    BlkioDeviceReadIOps: "device-read-iops",
    BlkioDeviceWriteIOps: "device-write-iops",
  });
  const [cdi, devices] = [true, false].map((is) => options.list("device").filter((one) => isCdiDevice(one) === is));
  if (devices!.length > 0) host.Devices = devices!.map(parseDevice);
  const requests = options.list<object>("gpus");
  if (cdi!.length > 0) requests.push({ Driver: "cdi", DeviceIDs: cdi });
  if (requests.length > 0) host.DeviceRequests = requests;
  if (options.has("storage-opt")) {
    if (options.list("storage-opt").some((one) => !one.includes("="))) fail("invalid storage option");
    host.StorageOpt = toMap(options.list("storage-opt"));
  }
  if (options.has("tmpfs")) host.Tmpfs = parseTmpfs(options.list("tmpfs"));
  if (options.has("sysctl")) host.Sysctls = toMap(options.list("sysctl"));
  if (options.has("annotation")) host.Annotations = toMap(options.list("annotation"));
  if (options.has("restart")) host.RestartPolicy = parseRestartPolicy(options.string("restart"));
  if (options.has("log-driver") || options.has("log-opt")) host.LogConfig = logConfig(options);
  if (options.has("security-opt")) {
    const security = securityOptions(options.list("security-opt"));
    if (security.options.length > 0) host.SecurityOpt = security.options;
    if (security.unconfinedPaths) {
      host.MaskedPaths = [];
      host.ReadonlyPaths = [];
    }
  }
  return host;
}

function checkModes(options: Options): void {
  const windows = WINDOWS_FLAGS.find((name) => options.has(name));
  if (windows) {
    const on = (system: string) => `Docker daemon ${system}`;
    throw new ExitError(
      1,
      `"--${windows}" is only supported on a ${on("running on windows")}, but the ${on("is running on linux")}`,
    );
  }
  const pull = options.string("pull") || "missing";
  if (!["always", "missing", "never"].includes(pull)) {
    fail(`invalid pull option: '${pull}': must be one of "always", "missing" or "never"`);
  }
  const swappiness = options.number("memory-swappiness");
  if (swappiness !== undefined && (swappiness < -1 || swappiness > 100)) {
    fail(`invalid value: ${swappiness}. Valid memory swappiness range is 0-100`);
  }
  if (options.has("pid") && !/^(host|container:.+|)$/.test(options.string("pid"))) fail("--pid: invalid PID mode");
  if (options.has("uts") && !/^(host|)$/.test(options.string("uts"))) fail("--uts: invalid UTS mode");
  if (options.has("cgroupns") && !/^(host|private|)$/.test(options.string("cgroupns"))) {
    fail("--cgroupns: invalid CGROUP mode");
  }
  if (options.has("userns") && !/^(host|private|auto|)$/.test(options.string("userns"))) {
    fail("--userns: invalid USER mode");
  }
  const policy = options.string("restart").split(":")[0];
  if (options.bool("rm") && policy !== "" && policy !== "no") {
    fail("conflicting options: cannot specify both --restart and --rm");
  }
  if (options.bool("rm") && options.bool("restart-on-unhealthy")) {
    fail("conflicting options: cannot specify both --restart-on-unhealthy and --rm");
  }
}

function logConfig(options: Options): { Type: string; Config: Record<string, string> } {
  const driver = options.string("log-driver");
  const config = options.list("log-opt");
  if (driver === "none" && config.length > 0) fail("invalid logging opts for driver none");
  return { Type: driver, Config: toMap(config) };
}
