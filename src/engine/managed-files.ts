import { readFileSync, writeFileSync } from "node:fs";
import { writeNewFile } from "../linux/file.ts";
import { hostFacts } from "./config/host-facts.ts";
import { hostnameOf } from "./config/hosts.ts";
import { namespaceModes } from "./config/modes.ts";
import type { ManagedFiles } from "./config/mounts.ts";
import type { Container } from "./container.ts";
import type { Context } from "./context.ts";
import { extraHosts, hostsFile, resolvFile } from "./networks/container-files.ts";

export function managedFiles(ctx: Context, id: string): ManagedFiles {
  const { paths } = ctx;
  return {
    hostname: paths.inContainer(id, "hostname"),
    hosts: paths.inContainer(id, "hosts"),
    resolv: paths.inContainer(id, "resolv.conf"),
  };
}

/** What depends on the container's own record alone: its host name, and hosts where they are not the machine's. */
export function writeNames(ctx: Context, container: Container): void {
  const { id, config, host } = container.record;
  const network = namespaceModes(host, ctx.hierarchy.mode).network;
  if (network.kind === "container") return;
  const files = managedFiles(ctx, id);
  const name = hostnameOf(id, config, host, hostFacts());
  writeNewFile(files.hostname, `${name}\n`, 0o644);
  if (network.kind === "host" || container.record.endpoints) return;
  writeNewFile(files.hosts, hostsFile([name], host, undefined, undefined), 0o644);
}

/**
 * Writes /etc/hostname, /etc/hosts and /etc/resolv.conf for a start; what the container changed in them on an earlier
 * run stays. One that shares another container's network shares that one's files too.
 */
export function writeManagedFiles(ctx: Context, container: Container): ManagedFiles {
  const { id, host } = container.record;
  const network = namespaceModes(host, ctx.hierarchy.mode).network;
  if (network.kind === "container") return managedFiles(ctx, ctx.table.get(network.id).id);
  const files = managedFiles(ctx, id);
  writeNames(ctx, container);
  if (network.kind === "host") {
    const gateway = "127.0.0.1";
    writeNewFile(files.hosts, readHost("/etc/hosts") + extraHosts(host, gateway), 0o644);
  } else if (container.record.endpoints) writeHosts(ctx, container);
  const reach = network.kind === "host" ? "all" : ctx.dns.serves(container) ? "own" : "other";
  writeNewFile(files.resolv, resolvFile(host, readHost("/etc/resolv.conf"), reach), 0o644);
  return files;
}

/** The container has a name server of its own from now on. In place: the file is mounted. */
export function writeResolv(ctx: Context, { id, record }: Container): void {
  writeFileSync(managedFiles(ctx, id).resolv, resolvFile(record.host, readHost("/etc/resolv.conf"), "own"));
}

/** Its addresses may be others than in its last run, and change while it runs. In place: the file is mounted. */
export function writeHosts(ctx: Context, container: Container): void {
  const { id, config, host } = container.record;
  const name = hostnameOf(id, config, host, hostFacts());
  const names = config.Domainname ? [`${name}.${config.Domainname}`, name] : [name];
  const { network } = container.state;
  const gateway = ctx.endpoints.hostGateway(container);
  writeFileSync(managedFiles(ctx, id).hosts, hostsFile(names, host, network, gateway, ctx.endpoints.links(container)));
}

function readHost(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
