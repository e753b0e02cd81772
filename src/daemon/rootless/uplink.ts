import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../../base/errors.ts";

/**
 * What connects a plain user's network namespace to the machine's network: pasta(1), else slirp4netns(1). Debian's pasta
 * carries 1.7 times as much into the namespace, and needs 29 MB where the other needs 4.
 */
export const UPLINKS = ["pasta", "slirp4netns"] as const;
type Uplink = (typeof UPLINKS)[number];

const INTERFACE = "tap0";
/** Of the network between the namespace and the program; the addresses are those of slirp4netns. */
const NETWORKS = ["10.0.2", "10.41.2", "192.168.142"];
const READY_MS = 5000;
const LOOK_MS = 2;
const STATE_FILE = "uplink.json";
const LOG_FILE = "uplink.log";

interface State {
  pid: number;
  /** Clock ticks since the machine's start, so that the number means this process. */
  started: string;
  kind: Uplink;
  /** What answers DNS there, as the machine's own servers do. */
  dns: string;
}

const PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
const find = (program: string) => Bun.which(program) ?? Bun.which(program, { PATH });

/**
 * Connects the network namespace of `holder`, unless that has been done. Where it cannot be done containers reach each
 * other only, and `log` hears why and what to do. Returns the DNS server of the namespace.
 */
export function connectUplink(holder: number, execRoot: string, log: (line: string) => void): string | undefined {
  const known = readUplink(execRoot);
  if (known) return known.dns;
  const wanted = process.env["INRO_ROOTLESS_NETWORK"];
  const kinds = UPLINKS.filter((kind) => (wanted ? wanted === kind : true) && find(kind) !== null);
  if (wanted !== "none" && kinds.length === 0)
    log("rootless: networks lead nowhere but to each other: apt install passt (or slirp4netns)");
  for (const kind of wanted === "none" ? [] : kinds) {
    try {
      return start(kind, holder, execRoot).dns;
    } catch (error) {
      log(`rootless: ${kind} does not connect the networks: ${messageOf(error)}`);
    }
  }
  return undefined;
}

function start(kind: Uplink, holder: number, execRoot: string): State {
  const network = freeNetwork();
  const dns = `${network}.3`;
  const log = openSync(join(execRoot, LOG_FILE), "w", 0o600);
  const child = Bun.spawn([find(kind)!, ...(kind === "pasta" ? pasta(network, holder) : slirp(network, holder))], {
    cwd: "/",
    env: { PATH },
    detached: true,
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  child.unref();
  // Nothing else is to be done meanwhile: this process becomes the engine.
  for (let waited = 0; !hasDefaultRoute(holder); waited += LOOK_MS) {
    const ended = !isRunning(child.pid);
    if (ended || waited >= READY_MS) {
      if (!ended) child.kill("SIGKILL");
      const said = readFileSync(join(execRoot, LOG_FILE), "utf8").trim().split("\n").slice(-2).join("; ").slice(0, 400);
      throw new Error(`${ended ? "it ended" : "it is not ready after 5 s"}: ${said}${hint(said)}`);
    }
    Bun.sleepSync(LOOK_MS);
  }
  const state = { pid: child.pid, started: startTime(child.pid) ?? "", kind, dns };
  writeFileSync(join(execRoot, STATE_FILE), JSON.stringify(state), { mode: 0o600 });
  return state;
}

/** No way to the machine's loopback: what listens there trusts who can reach it (CVE-2020-15257's kind). */
function pasta(network: string, holder: number): string[] {
  const addresses = ["-a", `${network}.100`, "-n", "24", "-g", `${network}.2`, "--dns-forward", `${network}.3`];
  const nothing = ["-t", "none", "-u", "none", "-T", "none", "-U", "none", "--no-map-gw"];
  return ["-f", "-q", "-4", "--config-net", "-I", INTERFACE, ...addresses, ...nothing, String(holder)];
}

function slirp(network: string, holder: number): string[] {
  const sandbox = ["--disable-host-loopback", "--enable-sandbox", "--enable-seccomp"];
  return ["--configure", "--mtu=65520", `--cidr=${network}.0/24`, ...sandbox, String(holder), INTERFACE];
}

function hint(said: string): string {
  if (/\/dev\/net\/tun|tun device|TUN/i.test(said) && /denied|such file/i.test(said))
    return " (/dev/net/tun must be there for every user: modprobe tun; chmod 666 /dev/net/tun)";
  if (/external interface/i.test(said)) return " (the machine has no default route)";
  return "";
}

/** The first network that none of the machine's routes leads to. */
function freeNetwork(): string {
  const lines = readFileSync("/proc/net/route", "latin1").split("\n").slice(1).filter(Boolean);
  const routes = lines.map((line) => line.split("\t")).map((fields) => [hex(fields[1]), hex(fields[7])] as const);
  const taken = (network: string) => {
    const address = network.split(".").reduce((sum, byte) => sum * 256 + Number(byte), 0) * 256;
    return routes.some(([to, mask]) => mask !== 0 && ((address & mask) >>> 0 === to || (to & ~0xff) >>> 0 === address));
  };
  return NETWORKS.find((network) => !taken(network)) ?? NETWORKS[0]!;
}

/** Of /proc/net/route: an address as the machine keeps it, in little endian. */
function hex(text = "0"): number {
  return Buffer.from(text.padStart(8, "0"), "hex").readUInt32LE(0);
}

function hasDefaultRoute(pid: number): boolean {
  const lines = readFileSync(`/proc/${pid}/net/route`, "latin1").split("\n");
  return lines.some((line) => line.startsWith(`${INTERFACE}\t00000000\t`));
}

/** The uplink that an earlier engine has started, if it lives. */
export function readUplink(execRoot: string): State | undefined {
  try {
    const state = JSON.parse(readFileSync(join(execRoot, STATE_FILE), "utf8")) as State;
    return startTime(state.pid) === state.started && isRunning(state.pid) ? state : undefined;
  } catch {
    return undefined;
  }
}

/** Ends it; there may be none. */
export function endUplink(execRoot: string): void {
  const uplink = readUplink(execRoot);
  if (uplink) process.kill(uplink.pid, "SIGTERM");
  rmSync(join(execRoot, STATE_FILE), { force: true });
}

const stat = (pid: number) =>
  readFileSync(`/proc/${pid}/stat`, "latin1")
    .replace(/^.*\) /, "")
    .split(" ");

/** Of proc_pid_stat(5): (22) starttime. */
function startTime(pid: number): string | undefined {
  try {
    return stat(pid)[19];
  } catch {
    return undefined;
  }
}

function isRunning(pid: number): boolean {
  try {
    return !["Z", "X"].includes(stat(pid)[0]!);
  } catch {
    return false;
  }
}
