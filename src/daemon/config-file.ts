import { readFileSync } from "node:fs";
import { codeOf, invalid, messageOf } from "../base/errors.ts";
import { didYouMean } from "../base/nearest.ts";
import { ownerUid } from "../base/owner.ts";
import { SETTINGS } from "./settings.ts";

/** Where the engine's configuration is when nobody says so. */
export function defaultConfigFile(env: Record<string, string | undefined> = process.env): string {
  if (ownerUid(env) === 0) return "/etc/inro/daemon.json";
  return `${env.XDG_CONFIG_HOME ?? `${env.HOME}/.config`}/inro/daemon.json`;
}

/** What docker's daemon.json may say and this engine does not do: a wrong sense of security is worse than no start. */
const UNSUPPORTED: Record<string, string> = {
  "authorization-plugins": "give their clients a socket with limited rights (sockets)",
  containerd: "there is none in this engine",
  "containerd-namespace": "there is none in this engine",
  debug: "the engine has one level of messages",
  "default-runtime": "there is one runtime, inro's own",
  runtimes: "there is one runtime, inro's own",
  "exec-opts": "cgroups are made by the engine itself",
  "init-path": "the engine has its own init",
  iptables: "the firewall is nftables",
  ip6tables: "the firewall is nftables",
  "log-level": "the engine has one level of messages",
  "selinux-enabled": "SELinux labels are not supported",
  "shutdown-timeout": "containers outlive the engine, so none is stopped with it",
  "userland-proxy": "there is none",
  "userns-remap": "a container has its own user namespace with --userns auto",
};

/** Its other keys, which need no reason. */
const OTHERS = `allow-direct-routing bip bip6 bridge-accept-fwmark builder containerd-plugins-namespace
  cpu-rt-period cpu-rt-runtime default-address-pools default-gateway default-gateway-v6 default-network-opts dns dns-opts
  dns-search experimental features firewall-backend fixed-cidr fixed-cidr-v6 host-gateway-ip host-gateway-ips icc
  ip-forward ip-forward-no-drop ip-masq ipv6 log-format max-concurrent-downloads max-concurrent-uploads
  max-download-attempts metrics-addr mtu node-generic-resources proxies http-proxy https-proxy no-proxy raw-logs rootless
  storage-opts swarm-default-advertise-addr tls userland-proxy-path`.split(/\s+/);

/**
 * The settings of a configuration file, unchecked but for their keys; a missing one is empty, unless it was `named`.
 * Throws invalid, with the nearest known key for an unknown one.
 */
export function readConfigFile(path: string, named: boolean): Record<string, unknown> {
  let content: string;
  try {
    content = readFileSync(path, "utf8");
  } catch (error) {
    if (!named && (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR")) return {};
    throw invalid(`read configuration ${path}: ${codeOf(error)}`, error);
  }
  let config: unknown;
  try {
    config = JSON.parse(content.replace(/^\uFEFF/, ""));
  } catch (error) {
    throw invalid(`configuration ${path}: ${messageOf(error)}`, error);
  }
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw invalid(`configuration ${path}: must be a JSON object`);
  }
  for (const key of Object.keys(config)) {
    if (Object.hasOwn(SETTINGS, key)) continue;
    const reason = Object.hasOwn(UNSUPPORTED, key) ? `: ${UNSUPPORTED[key]}` : "";
    if (reason || OTHERS.includes(key)) throw invalid(`configuration ${path}: ${key} is not supported${reason}`);
    const near = didYouMean(key, Object.keys(SETTINGS));
    throw invalid(`configuration ${path}: unknown key ${JSON.stringify(key.slice(0, 64))}${near}`);
  }
  return config as Record<string, unknown>;
}

/** File and flags together. A key in both is refused, as docker does: nobody could tell which one is meant. */
export function merged(
  file: Record<string, unknown>,
  flags: Record<string, unknown>,
  path: string,
): Record<string, unknown> {
  const both = Object.keys(flags).filter((key) => Object.hasOwn(file, key));
  if (both.length > 0) {
    const pairs = both.map(
      (key) => `${key}: (from flag: ${JSON.stringify(flags[key])}, from file: ${JSON.stringify(file[key])})`,
    );
    throw invalid(`specified both as a flag and in the configuration file ${path}: ${pairs.join(", ")}`);
  }
  return { ...file, ...flags };
}
