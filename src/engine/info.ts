import { readdirSync, readFileSync } from "node:fs";
import { arch, cpus, hostname, release, totalmem } from "node:os";
import { ownerUid } from "../base/owner.ts";
import { parseNetwork, type Registries, splitMirror } from "../registry/endpoint.ts";
import { API_VERSION } from "../spec/docker-api.ts";
import { nowText } from "./clock.ts";
import { CDI_DIRECTORIES, cdiDevices } from "./config/cdi.ts";
import { hostFacts } from "./config/host-facts.ts";
import { LOG_DRIVERS } from "./config/log-config.ts";
import type { Context } from "./context.ts";

export const VERSION = "0.1.0";

const NETWORK_DRIVERS = ["bridge", "host", "ipvlan", "macvlan", "null"];

const machine = () => (arch() === "arm64" ? "aarch64" : "x86_64");
const goArch = () => (arch() === "arm64" ? "arm64" : "amd64");

/** GET /version; `minVersion` is the oldest version of the API that is served. */
export function version(minVersion: string): Record<string, unknown> {
  const details = {
    ApiVersion: API_VERSION,
    Arch: goArch(),
    Experimental: "false",
    KernelVersion: release(),
    MinAPIVersion: minVersion,
    Os: "linux",
  };
  return {
    Platform: { Name: "inro" },
    Components: [{ Name: "Engine", Version: VERSION, Details: details }],
    Version: VERSION,
    ApiVersion: API_VERSION,
    MinAPIVersion: minVersion,
    GitCommit: "",
    GoVersion: "",
    Os: "linux",
    Arch: goArch(),
    KernelVersion: release(),
    BuildTime: "",
  };
}

/** GET /info. */
export async function info(ctx: Context): Promise<Record<string, unknown>> {
  const containers = ctx.table.all();
  const count = (status: string) => containers.filter(({ state }) => state.status === status).length;
  const running = count("running");
  const paused = count("paused");
  const facts = hostFacts();
  const has = (v1: string, v2 = v1) => ctx.hierarchy.controllers.has(v1) || ctx.hierarchy.controllers.has(v2);
  return {
    ID: ctx.store.engineId,
    Containers: containers.length,
    ContainersRunning: running,
    ContainersPaused: paused,
    ContainersStopped: containers.length - running - paused,
    Images: ctx.images.list().length,
    Driver: ctx.images.layerForm === "erofs" ? "erofs" : "overlay2",
    DriverStatus: [["Backing Filesystem", "overlay"]],
    Plugins: { Volume: ["local"], Network: [...NETWORK_DRIVERS], Authorization: null, Log: LOG_DRIVERS.toSorted() },
    MemoryLimit: has("memory"),
    SwapLimit: facts.swapLimit,
    CpuCfsPeriod: has("cpu"),
    CpuCfsQuota: has("cpu"),
    CPUShares: has("cpu"),
    CPUSet: has("cpuset"),
    PidsLimit: has("pids"),
    OomKillDisable: ctx.hierarchy.mode !== "v2",
    IPv4Forwarding: read("/proc/sys/net/ipv4/ip_forward") === "1",
    Debug: false,
    NFd: readdirSync("/proc/self/fd").length,
    NGoroutines: 0,
    SystemTime: nowText(),
    LoggingDriver: ctx.defaultLog.Type,
    // Docker's word where a user has been given none.
    CgroupDriver: ctx.hierarchy.delegated && ctx.hierarchy.unified === undefined ? "none" : "cgroupfs",
    CgroupVersion: ctx.hierarchy.mode === "v2" ? "2" : "1",
    NEventsListener: ctx.events.listeners,
    KernelVersion: release(),
    OperatingSystem: osRelease("PRETTY_NAME") ?? "Linux",
    OSVersion: osRelease("VERSION_ID") ?? "",
    OSType: "linux",
    Architecture: machine(),
    IndexServerAddress: "https://index.docker.io/v1/",
    RegistryConfig: registryConfig(ctx.settings.registries),
    NCPU: cpus().length,
    MemTotal: totalmem(),
    DockerRootDir: ctx.paths.dataRoot,
    HttpProxy: "",
    HttpsProxy: "",
    NoProxy: "",
    Name: hostname(),
    Labels: ctx.settings.labels,
    GenericResources: null,
    ProductLicense: "",
    ContainerdCommit: { ID: "" },
    RuncCommit: { ID: "" },
    InitCommit: { ID: "" },
    CDISpecDirs: [...CDI_DIRECTORIES],
    FirewallBackend: { Driver: "nftables" },
    DiscoveredDevices: cdiDevices().map((ID) => ({ Source: "cdi", ID })),
    ExperimentalBuild: false,
    ServerVersion: VERSION,
    Runtimes: { inro: { path: "inro" } },
    DefaultRuntime: "inro",
    Swarm: {
      NodeID: "",
      NodeAddr: "",
      LocalNodeState: "inactive",
      ControlAvailable: false,
      Error: "",
      RemoteManagers: null,
    },
    LiveRestoreEnabled: true,
    Isolation: "",
    InitBinary: "docker-init",
    SecurityOptions: [
      ...(facts.apparmor ? ["name=apparmor"] : []),
      "name=seccomp,profile=builtin",
      "name=cgroupns",
      ...(ownerUid() !== 0 ? ["name=rootless"] : []),
    ],
    Warnings: facts.swapLimit ? [] : ["WARNING: No swap limit support"],
  };
}

function registryConfig({ mirrors = [], insecure = [] }: Registries): object {
  const hubs = mirrors.map(splitMirror).flatMap(({ host, url }) => (host === "docker.io" ? [url] : []));
  const plain = insecure
    .filter((name) => !parseNetwork(name))
    .map((Name) => [Name, { Name, Mirrors: [], Secure: false, Official: false }]);
  const hub = { Name: "docker.io", Mirrors: hubs, Secure: true, Official: true };
  return {
    InsecureRegistryCIDRs: ["127.0.0.0/8", "::1/128", ...insecure.filter(parseNetwork)],
    IndexConfigs: { "docker.io": hub, ...Object.fromEntries(plain) },
    Mirrors: hubs,
  };
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined;
  }
}

function osRelease(key: string): string | undefined {
  const line = (read("/etc/os-release") ?? "").split("\n").find((text) => text.startsWith(`${key}=`));
  return line?.slice(key.length + 1).replace(/^"(.*)"$/, "$1");
}
