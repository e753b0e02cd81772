import { conflict, InroError, invalid, messageOf } from "../base/errors.ts";
import type { HostConfig } from "../spec/docker-api.ts";
import type { Resources } from "../spec/oci-runtime.ts";
import { containerDevices } from "./config/devices.ts";
import { healthCheck } from "./config/health.ts";
import { hostFiles } from "./config/host-files.ts";
import { THROTTLES } from "./config/limits.ts";
import { resources } from "./config/resources.ts";
import { validateUpdate } from "./config/validate-update.ts";
import type { Container } from "./container.ts";
import { type Context, emit, openCgroup } from "./context.ts";
import { expiryOf } from "./expiry/expiry.ts";
import { hasRestartPolicy } from "./restart/policy.ts";

/**
 * POST /containers/{id}/update; the caller holds the container's mutex. A running one has the new limits at once; one
 * that the kernel refuses is a conflict, and everything is as before.
 */
export function updateContainer(
  ctx: Context,
  container: Container,
  body: unknown,
  options: { blockDevices: boolean },
): { Warnings: string[] } {
  if (container.state.status === "removing") throw conflict(`container ${container.id} is marked for removal`);
  const { host: before } = container.record;
  const { host, warnings } = validateUpdate(body, before, options);
  if (host.RestartOnUnhealthy && !healthCheck(container.record.config)) {
    throw invalid("RestartOnUnhealthy needs a health check");
  }
  if (container.isRunning) {
    const { rules } = containerDevices(host, hostFiles);
    const changed = withLifted(resources(host, rules, hostFiles), before, host);
    try {
      openCgroup(ctx, container)?.update(changed);
    } catch (error) {
      if (error instanceof InroError) throw error;
      throw conflict(`cannot update container ${container.id}: ${messageOf(error)}`, error);
    }
  }
  container.record = { ...container.record, host };
  ctx.store.updateContainer(container.record);
  if (asksForTime(body)) renew(ctx, container);
  if (!hasRestartPolicy(host)) ctx.restarts.cancel(ctx, container, { stopped: false });
  if (!before.RestartOnUnhealthy) ctx.health.reconsider(ctx, container);
  emit(ctx, container, "update");
  return { Warnings: warnings };
}

const asksForTime = (body: unknown) => ["TTL", "IdleTTL"].some((name) => Object.hasOwn(body as object, name));

/** From now on it has the time that its record says. */
function renew(ctx: Context, container: Container): void {
  if (!container.isUp) return;
  const { expires: _expires, idle: _idle, ...state } = container.state;
  container.state = { ...state, ...expiryOf(container.record.host) };
  ctx.store.updateState(container.id, container.state);
  ctx.expiry.begin(ctx, container);
}

/** A limit that is no more says so to the kernel: what is absent would stay as it is. */
function withLifted(limits: Resources, before: HostConfig, after: HostConfig): Resources {
  const lifted: Resources = { ...limits };
  if ((before.PidsLimit ?? 0) > 0 && !limits.pids) lifted.pids = { limit: -1 };
  const throttles: HostConfig = {};
  for (const name of THROTTLES) {
    const gone = (before[name] ?? []).filter(({ Path }) => !after[name]?.some((other) => other.Path === Path));
    // A device that is not there any more limits nothing.
    throttles[name] = gone.filter(({ Path }) => hostFiles.stat(Path)).map(({ Path }) => ({ Path, Rate: 0 }));
  }
  const none = resources(throttles, [], hostFiles).blockIO ?? {};
  for (const [name, devices] of Object.entries(none) as [keyof typeof none, never[]][]) {
    lifted.blockIO = { ...lifted.blockIO, [name]: [...((lifted.blockIO?.[name] as never[]) ?? []), ...devices] };
  }
  return lifted;
}
