import { existsSync } from "node:fs";
import { newId } from "../../base/digest.ts";
import { InroError } from "../../base/errors.ts";
import { launch } from "../../runtime/launch.ts";
import { nowText } from "../clock.ts";
import { hasNetworks } from "../config/modes.ts";
import { type Container, newState } from "../container.ts";
import { type Context, emit } from "../context.ts";
import { createContainer, register } from "../create.ts";
import { removeContainer } from "../remove.ts";
import { layersOf } from "../rootfs.ts";
import { startContainer } from "../start.ts";
import { forceEnd } from "../stop.ts";
import type { ContainerRecord } from "../store.ts";
import type { Volumes } from "../volumes.ts";

const LABEL = "org.inro.debug";

/** Where a debugging process goes: a container that runs. `own`: it was made for it, and goes with it. */
export interface DebugTarget {
  container: Container;
  own: boolean;
}

/**
 * The container itself where it runs. Of one that does not, and of an image, a container is made that has its files below
 * a layer of its own, and in which nothing runs: what is changed there goes with it. notFound when there is neither.
 */
export async function debugTarget(ctx: Context, volumes: Volumes, ref: string): Promise<DebugTarget> {
  const target = containerOf(ctx, ref);
  if (target?.isRunning) return { container: target, own: false };
  const container = target ? copyOf(ctx, target) : ofImage(ctx, volumes, ref);
  try {
    await container.mutex.run(() =>
      startContainer(ctx, volumes, container, {
        run: ({ kind: _, ...request }) => launch({ ...request, init: true, pause: true }),
      }),
    );
    return { container, own: true };
  } catch (error) {
    await container.mutex.run(() => removeContainer(ctx, volumes, container, { volumes: true }));
    throw error;
  }
}

/** What an earlier engine left: nobody knows its shells any more. */
export async function endDebugTargets(ctx: Context, volumes: Volumes): Promise<void> {
  for (const container of ctx.table.all()) {
    if (!container.record.debug) continue;
    if (container.isRunning) await forceEnd(ctx, container);
    else await container.mutex.run(() => removeContainer(ctx, volumes, container, { volumes: true }));
  }
}

function containerOf(ctx: Context, ref: string): Container | undefined {
  try {
    return ctx.table.get(ref);
  } catch (error) {
    if (error instanceof InroError && error.kind === "notFound") return undefined;
    throw error;
  }
}

const NO_HEALTHCHECK = { Test: ["NONE"] };

function ofImage(ctx: Context, volumes: Volumes, image: string): Container {
  const { Id } = createContainer(ctx, volumes, {
    body: {
      Image: image,
      Entrypoint: [""],
      Cmd: ["pause"],
      Labels: { [LABEL]: image },
      Healthcheck: NO_HEALTHCHECK,
      HostConfig: { AutoRemove: true, Init: true, LogConfig: { Type: "none" } },
    },
  });
  const container = ctx.table.get(Id);
  container.record = { ...container.record, debug: true };
  ctx.store.updateContainer(container.record);
  return container;
}

/** Its volumes and binds are there, and cannot be changed; it is in no network. */
function copyOf(ctx: Context, target: Container): Container {
  const { record } = target;
  const { config, host } = record;
  const id = newId();
  const { endpoints: _, ...kept } = record;
  const copy: ContainerRecord = {
    ...kept,
    id,
    name: `${record.name.slice(0, 200)}-debug-${id.slice(0, 8)}`,
    created: nowText(),
    config: {
      ...config,
      Entrypoint: [],
      Cmd: ["pause"],
      Tty: false,
      OpenStdin: false,
      Healthcheck: NO_HEALTHCHECK,
      Labels: { ...config.Labels, [LABEL]: record.id },
    },
    host: {
      ...host,
      AutoRemove: true,
      Init: true,
      LogConfig: { Type: "none", Config: {} },
      RestartPolicy: { Name: "no", MaximumRetryCount: 0 },
      ReadonlyRootfs: false,
      PidMode: "",
      PortBindings: {},
      ...(hasNetworks(host.NetworkMode ?? "none") ? { NetworkMode: "none" } : {}),
    },
    mounts: record.mounts.map((mount) => ({ ...mount, readOnly: true, noCopy: true })),
    anonymous: [],
    debug: true,
    ...(existsSync(layersOf(ctx, target).upper) ? { below: record.id } : {}),
  };
  const state = newState();
  ctx.store.insertContainer(copy, state, []);
  const container = register(ctx, copy, state);
  emit(ctx, container, "create");
  return container;
}
