import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { InroError } from "../base/errors.ts";
import { Cgroup } from "../cgroups/cgroup.ts";
import type { Hierarchy } from "../cgroups/hierarchy.ts";
import type { LogConfig } from "./config/log-config.ts";
import type { Container } from "./container.ts";
import type { EventLog } from "./events.ts";
import type { Expiry } from "./expiry/expiry.ts";
import type { HealthMonitor } from "./health/monitor.ts";
import type { EngineImages } from "./host-image.ts";
import type { ContainerDns } from "./networks/container-dns.ts";
import type { Endpoints } from "./networks/endpoints.ts";
import type { Networks } from "./networks/networks.ts";
import { cgroupPath, type Paths } from "./paths.ts";
import type { Restarts } from "./restart/restarts.ts";
import type { EngineSettings } from "./settings.ts";
import type { Store } from "./store.ts";
import type { ContainerTable } from "./table.ts";
import type { Trash } from "./trash.ts";

/** What the parts of one engine share. */
export interface Context {
  readonly paths: Paths;
  readonly store: Store;
  readonly hierarchy: Hierarchy;
  readonly table: ContainerTable;
  readonly images: EngineImages;
  readonly events: EventLog;
  readonly trash: Trash;
  readonly restarts: Restarts;
  readonly networks: Networks;
  readonly endpoints: Endpoints;
  readonly dns: ContainerDns;
  readonly health: HealthMonitor;
  readonly expiry: Expiry;
  readonly bootId: string;
  settings: EngineSettings;
  /** The log of containers that ask for none. */
  readonly defaultLog: LogConfig;
  /** journald's socket. */
  readonly journal: string;
  /** Keys of labels that containers do not get from their image. */
  readonly reservedLabels: readonly string[];
  log(line: string): void;
}

export function readBootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
}

/**
 * A container's cgroup as far as it exists: the object that its start made, which knows of what is added, or else what is
 * found.
 */
export function openCgroup(ctx: Context, container: Container): Cgroup | undefined {
  return container.cgroup ?? openCgroupAt(ctx, cgroupPath(container.id, container.record.host.CgroupParent));
}

/** Host pids of what runs in a container: of one without a cgroup, all in its pid namespace, if that is its own. */
export function processesOf(ctx: Context, container: Container): number[] {
  const cgroup = openCgroup(ctx, container);
  if (cgroup) return cgroup.pids();
  const { pid } = container.state;
  const theirs = pid > 0 ? pidNamespaceOf(String(pid)) : undefined;
  if (theirs === undefined) return [];
  if (theirs === pidNamespaceOf("self")) return [pid];
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.filter((name) => pidNamespaceOf(name) === theirs).map(Number);
}

function pidNamespaceOf(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    // Another user's, or gone.
    return undefined;
  }
}

export function openCgroupAt(ctx: Context, path: string): Cgroup | undefined {
  try {
    return Cgroup.open(ctx.hierarchy, path);
  } catch (error) {
    if (error instanceof InroError && error.kind === "notFound") return undefined;
    throw error;
  }
}

/** A container event with what docker puts into it: name, image and labels. */
export function emit(ctx: Context, container: Container, action: string, more: Record<string, string> = {}): void {
  const { id, name, image, config } = container.record;
  ctx.events.emit("container", action, id, { ...config.Labels, image, name, ...more });
}
