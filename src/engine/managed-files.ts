import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { hostFacts } from "./config/host-facts.ts";
import { hostnameOf, parseExtraHost } from "./config/hosts.ts";
import { namespaceModes } from "./config/modes.ts";
import type { ManagedFiles } from "./config/mounts.ts";
import type { Container } from "./container.ts";
import type { Context } from "./context.ts";

const LOCAL_HOSTS = `127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
`;

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
  writeNew(files.hostname, () => `${name}\n`);
  if (network.kind === "host") return;
  writeNew(files.hosts, () => `${LOCAL_HOSTS}127.0.1.1\t${name}\n${extraHosts(host)}`);
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
  if (network.kind === "host") writeNew(files.hosts, () => readHost("/etc/hosts") + extraHosts(host));
  writeNew(files.resolv, () => readHost("/etc/resolv.conf"));
  return files;
}

function extraHosts(host: Container["record"]["host"]): string {
  return (host.ExtraHosts ?? [])
    .map(parseExtraHost)
    .map(({ name, address }) => `${address}\t${name}\n`)
    .join("");
}

function writeNew(path: string, content: () => string): void {
  if (existsSync(path)) return;
  const text = content();
  try {
    writeFileSync(path, text, { flag: "wx", mode: 0o644 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

function readHost(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
