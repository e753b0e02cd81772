import { readFileSync, writeFileSync } from "node:fs";
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

/**
 * Writes /etc/hostname, /etc/hosts and /etc/resolv.conf for a start; what the container changed in them on an earlier
 * run stays. One that shares another container's network shares that one's files too.
 */
export function writeManagedFiles(ctx: Context, container: Container): ManagedFiles {
  const { id, config, host } = container.record;
  const network = namespaceModes(host, ctx.hierarchy.mode).network;
  if (network.kind === "container") return managedFiles(ctx, ctx.table.get(network.id).id);
  const files = managedFiles(ctx, id);
  const name = hostnameOf(id, config, host, hostFacts());
  const extra = (host.ExtraHosts ?? []).map(parseExtraHost).map(({ name, address }) => `${address}\t${name}\n`);
  const local = network.kind === "host" ? readHost("/etc/hosts") : `${LOCAL_HOSTS}127.0.1.1\t${name}\n`;
  writeNew(files.hostname, `${name}\n`);
  writeNew(files.hosts, local + extra.join(""));
  writeNew(files.resolv, readHost("/etc/resolv.conf"));
  return files;
}

function writeNew(path: string, text: string): void {
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
