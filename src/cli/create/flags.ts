import { detachKeysFlag, type Flag, parseInteger } from "../flags.ts";
import { parseBandwidth } from "./bandwidth.ts";
import {
  parseDeviceRule,
  parseThrottleBytes,
  parseThrottleOperations,
  parseUlimit,
  parseWeightDevice,
} from "./devices.ts";
import { parseEnv, parseLabel } from "./environment.ts";
import { parseGpus } from "./gpus.ts";
import { durationFlag, healthFlags } from "./health.ts";
import { parseMount } from "./mounts.ts";
import { parseAddress, parseDomain, parseHost, parseLink, parseNetwork } from "./network.ts";
import { restartFlag } from "./restart.ts";
import { parseCapability, parseSysctl } from "./security.ts";
import { parseBytes, parseCpus, parseSwapBytes } from "./sizes.ts";

const bytes = { type: "string", value: "bytes", parse: parseBytes } as const;
const list = { type: "list" } as const;
const string = { type: "string" } as const;
const bool = { type: "bool" } as const;
const int = { type: "int" } as const;

function parseStream(text: string): string {
  const stream = text.toLowerCase();
  if (!["stdin", "stdout", "stderr"].includes(stream)) throw new Error("valid streams are STDIN, STDOUT and STDERR");
  return stream;
}

function parseWeight(text: string): number {
  const weight = parseInteger(text, true);
  if (weight > 0xffff) throw new Error(`strconv.ParseUint: parsing ${JSON.stringify(text)}: value out of range`);
  return weight;
}

function parsePair(text: string): string {
  if (!text.includes("=")) throw new Error("invalid argument: expected key=value");
  return text;
}

/** Accepted on every platform, and refused on this one. */
export const WINDOWS_FLAGS = ["cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops"] as const;

/** Options of `create`; `run` has some more. */
export const createFlags: readonly Flag[] = [
  { name: "add-host", ...list, parse: parseHost, help: "Add a line to /etc/hosts (host:ip)" },
  { name: "annotation", ...list, value: "map", parse: parsePair, help: "Add an OCI annotation (key=value)" },
  {
    name: "attach",
    short: "a",
    ...list,
    parse: parseStream,
    choices: ["stdin", "stdout", "stderr"],
    help: "Attach to stdin, stdout or stderr",
  },
  {
    name: "blkio-weight",
    type: "uint",
    parse: parseWeight,
    help: "Share of block I/O, 10 to 1000, or 0 for the default",
  },
  {
    name: "blkio-weight-device",
    ...list,
    parse: parseWeightDevice,
    help: "Share of one device's I/O (path:weight)",
  },
  {
    name: "bandwidth",
    ...string,
    parse: parseBandwidth,
    help: "Limit what it sends and receives (egress=10mbit,ingress=100mbit)",
  },
  { name: "cap-add", ...list, parse: parseCapability, help: "Add a capability, or ALL" },
  { name: "cap-drop", ...list, parse: parseCapability, help: "Drop a capability, or ALL" },
  { name: "cgroup-parent", ...string, help: "Cgroup below which the container's is made" },
  { name: "cgroupns", ...string, choices: ["host", "private"], help: "Cgroup namespace: host or private" },
  { name: "cidfile", ...string, help: "Write the container's id to this new file" },
  { name: "cpu-period", ...int, help: "CFS period in microseconds" },
  { name: "cpu-quota", ...int, help: "CFS quota in microseconds" },
  { name: "cpu-rt-period", ...int, help: "Real-time period in microseconds" },
  { name: "cpu-rt-runtime", ...int, help: "Real-time runtime in microseconds" },
  { name: "cpu-shares", short: "c", ...int, help: "CPU shares, relative to other containers" },
  { name: "cpus", ...string, value: "decimal", parse: parseCpus, help: "Number of CPUs, as 1.5" },
  { name: "cpuset-cpus", ...string, help: "CPUs to run on (0-3, 0,1)" },
  { name: "cpuset-mems", ...string, help: "Memory nodes to use (0-3, 0,1)" },
  { name: "device", ...list, help: "Add a host device (host[:container][:rwm], or CDI's vendor/class=name)" },
  { name: "device-cgroup-rule", ...list, parse: parseDeviceRule, help: "Allow devices by number (c 42:* rwm)" },
  { name: "device-read-bps", ...list, parse: parseThrottleBytes, help: "Limit reading from a device (path:1mb)" },
  { name: "device-read-iops", ...list, parse: parseThrottleOperations, help: "Limit reads per second (path:100)" },
  { name: "device-write-bps", ...list, parse: parseThrottleBytes, help: "Limit writing to a device (path:1mb)" },
  { name: "device-write-iops", ...list, parse: parseThrottleOperations, help: "Limit writes per second (path:100)" },
  { name: "disable-content-trust", ...bool, help: "", hidden: true },
  { name: "dns", ...list, parse: parseAddress, help: "Add a DNS server" },
  { name: "dns-option", aliases: ["dns-opt"], ...list, help: "Add a DNS option" },
  { name: "dns-search", ...list, parse: parseDomain, help: "Add a DNS search domain; . is none" },
  { name: "domainname", ...string, help: "NIS domain name" },
  { name: "egress", ...list, help: "Allow or deny what it sends out (allow=HOST[:PORT], deny=private,metadata)" },
  { name: "entrypoint", ...string, help: "Replace the image's entrypoint; empty removes it" },
  { name: "env", short: "e", ...list, parse: parseEnv, help: "Set a variable (NAME=VALUE, or NAME from here)" },
  { name: "env-file", ...list, help: "Read variables from a file" },
  { name: "expose", ...list, help: "Expose a port or a range of them (port[-end][/protocol])" },
  { name: "gpus", ...list, value: "gpu-request", parse: parseGpus, help: "GPUs: all, a number, or device=…" },
  { name: "group-add", ...list, help: "Add a supplementary group" },
  ...healthFlags,
  { name: "hostname", short: "h", ...string, help: "Host name" },
  { name: "idle-ttl", ...durationFlag, help: "Stop it when nobody has used it for so long (30m)" },
  { name: "init", ...bool, help: "Run an init that reaps processes and forwards signals" },
  { name: "interactive", short: "i", ...bool, help: "Keep stdin open" },
  { name: "ip", ...string, help: "IPv4 address in its network" },
  { name: "ip6", ...string, help: "IPv6 address in its network" },
  { name: "ipc", ...string, help: "IPC namespace: private, shareable, host, none, container:ID" },
  { name: "isolation", ...string, help: "", hidden: true },
  { name: "kernel-memory", ...bytes, help: "", hidden: true },
  { name: "label", short: "l", ...list, parse: parseLabel, help: "Set a label (key[=value])" },
  { name: "label-file", ...list, help: "Read labels from a file" },
  { name: "link", ...list, parse: parseLink, help: "Give another container a name here (container[:alias])" },
  { name: "link-local-ip", ...list, help: "Add a link-local address" },
  { name: "log-driver", ...string, help: "Logging driver" },
  { name: "log-opt", ...list, help: "Logging driver option (key=value)" },
  { name: "mac-address", ...string, help: "MAC address in its network (92:d0:c6:0a:29:33)" },
  { name: "memory", short: "m", ...bytes, help: "Memory limit, as 512m" },
  { name: "memory-reservation", ...bytes, help: "Memory below which reclaim spares it" },
  { name: "memory-swap", ...string, value: "bytes", parse: parseSwapBytes, help: "Memory plus swap; -1 is unlimited" },
  { name: "memory-swappiness", ...int, default: "-1", help: "Readiness to swap, 0 to 100" },
  {
    name: "mount",
    ...list,
    value: "mount",
    parse: parseMount,
    help: "Mount (type=bind|volume|tmpfs|image,src=…,dst=…)",
  },
  { name: "name", ...string, help: "Name of the container" },
  {
    name: "network",
    aliases: ["net"],
    ...list,
    value: "network",
    parse: parseNetwork,
    choices: ["none", "host"],
    completes: "network",
    help: "Network: none, host, a name, or name=…,alias=…,ip=…; may repeat",
  },
  { name: "network-alias", aliases: ["net-alias"], ...list, help: "Add a name in its network" },
  { name: "no-healthcheck", ...bool, help: "Switch off the image's health check" },
  { name: "oom-kill-disable", ...bool, help: "Stall instead of killing when memory runs out (cgroup v1)" },
  { name: "oom-score-adj", ...int, help: "Preference of the OOM killer, -1000 to 1000" },
  { name: "pid", ...string, help: "PID namespace: host or container:ID" },
  { name: "pids-limit", ...int, help: "Most processes; -1 is unlimited" },
  { name: "platform", ...string, help: "Platform of the image (os/arch[/variant])" },
  { name: "privileged", ...bool, help: "All capabilities and devices, no filters" },
  { name: "publish", short: "p", ...list, help: "Publish a port ([[ip:]hostport:]port[/protocol])" },
  { name: "publish-all", short: "P", ...bool, help: "Publish all exposed ports on free ports" },
  {
    name: "pull",
    ...string,
    choices: ["always", "missing", "never"],
    default: "missing",
    help: "When to pull the image: always, missing, never",
  },
  { name: "quiet", short: "q", ...bool, help: "No progress of a pull" },
  { name: "read-only", ...bool, help: "Mount the root filesystem read-only" },
  { ...restartFlag, default: "no" },
  { name: "restart-on-unhealthy", ...bool, help: "Restart it when its health check finds it unhealthy" },
  { name: "rm", ...bool, help: "Remove the container when it exits" },
  { name: "runtime", ...string, help: "Runtime for this container" },
  { name: "security-opt", ...list, help: "seccomp=FILE|unconfined, no-new-privileges, systempaths=unconfined" },
  { name: "shm-size", ...bytes, help: "Size of /dev/shm" },
  { name: "stop-signal", ...string, help: "Signal that stops the container" },
  { name: "stop-timeout", ...int, help: "Seconds to stop before it is killed" },
  { name: "storage-opt", ...list, help: "Option of the storage driver (key=value)" },
  { name: "sysctl", ...list, value: "map", parse: parseSysctl, help: "Kernel parameter of its namespaces (key=value)" },
  { name: "tmpfs", ...list, help: "Mount a tmpfs (path[:options])" },
  { name: "ttl", ...durationFlag, help: "Stop it so long after its start (1h30m)" },
  { name: "tty", short: "t", ...bool, help: "Give it a terminal" },
  { name: "ulimit", ...list, value: "ulimit", parse: parseUlimit, help: "Resource limit (type=soft[:hard])" },
  { name: "use-api-socket", ...bool, help: "Mount the engine's socket at /var/run/docker.sock" },
  { name: "user", short: "u", ...string, help: "User (name|uid[:group|gid])" },
  { name: "userns", ...string, help: "User namespace" },
  { name: "uts", ...string, choices: ["host"], help: "UTS namespace: host" },
  { name: "volume", short: "v", ...list, help: "Bind a path or a volume (source:path[:options])" },
  { name: "volume-driver", ...string, help: "Driver of the volumes that are made" },
  { name: "volumes-from", ...list, help: "Mounts of another container (container[:ro])" },
  { name: "workdir", short: "w", ...string, help: "Working directory" },
  ...WINDOWS_FLAGS.map((name): Flag => ({ name, ...string, help: "", hidden: true })),
];

/** Options of `run`. */
export const runFlags: readonly Flag[] = [
  ...createFlags,
  { name: "detach", short: "d", ...bool, help: "Run in the background and print the id" },
  detachKeysFlag,
  { name: "sig-proxy", ...bool, default: "true", help: "Pass signals on to the process" },
];
