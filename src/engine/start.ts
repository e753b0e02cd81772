import { readdirSync } from "node:fs";
import { conflict, InroError, messageOf, unavailable } from "../base/errors.ts";
import { Cgroup } from "../cgroups/cgroup.ts";
import { markOwner } from "../cgroups/owner.ts";
import { close } from "../linux/file.ts";
import type { NetworkNamespace } from "../network/namespace.ts";
import { FD } from "../runtime/builder.ts";
import { mayMountCgroups } from "../runtime/cgroup-mounts.ts";
import { LaunchError, type LaunchRequest, launch } from "../runtime/launch.ts";
import { NAMESPACE_FILE } from "../runtime/namespaces.ts";
import type { Running } from "../runtime/running.ts";
import type { Given } from "../runtime/start.ts";
import { createUserAndNetworkNamespace } from "../runtime/userns.ts";
import type { Spec } from "../spec/oci-runtime.ts";
import { nowText, ZERO_TIME } from "./clock.ts";
import { namespaceModes } from "./config/modes.ts";
import { toSpec } from "./config/to-spec.ts";
import type { Container } from "./container.ts";
import { type Context, emit } from "./context.ts";
import { watchExit } from "./exit.ts";
import { expiryOf } from "./expiry/expiry.ts";
import { startingHealth } from "./health/record.ts";
import { joinedShm, openNamespace } from "./join.ts";
import { knownKind, launchKind, rememberKind } from "./launch-kind.ts";
import { managedFiles, writeManagedFiles } from "./managed-files.ts";
import { mountSources } from "./mount-sources.ts";
import type { RunNetwork } from "./networks/records.ts";
import { cgroupPath } from "./paths.ts";
import { layersOf, lookupIn, prepareRootfs } from "./rootfs.ts";
import { makeRunDirectory, removeRunDirectory } from "./run-directory.ts";
import { fillVolumes } from "./volumes/fill.ts";
import type { Volumes } from "./volumes.ts";

export interface StartOptions {
  /** The engine does it, not a client: what the restarts have come to stays. */
  again?: boolean;
  run?: (request: LaunchRequest) => Promise<Running>;
}

/**
 * Starts a container that does not run; the caller holds its mutex. A failure leaves nothing behind but State.Error and
 * ExitCode (126, 127, 128), and is thrown.
 */
export async function startContainer(
  ctx: Context,
  volumes: Volumes,
  container: Container,
  { again = false, run = launch }: StartOptions = {},
): Promise<void> {
  if (container.removed || container.state.status === "removing") {
    throw conflict(`cannot start container ${container.id}: it is marked for removal`);
  }
  if (container.state.status === "paused") {
    throw conflict("cannot start a paused container, try unpause instead");
  }
  if (container.isUp && !again) throw new InroError("notModified", `container ${container.id} is already running`);
  // The last run may still be on its way out, and take the container with it.
  await container.finished;
  // A copy may still hold the files of the last run, and this one's would be another overlay on the same directory.
  if (container.copies) await container.copies.settled();
  if (container.removed) throw conflict(`cannot start container ${container.id}: it is marked for removal`);
  const { stopped: _stopped, idle: _idle, commit: _commit, restarts, expires, ...before } = container.state;
  // Beside the time that it was to start, which stays until it has.
  const count = again && restarts ? { restarts: { count: restarts.count, delay: restarts.delay } } : {};
  container.state = {
    ...before,
    ...(again && restarts ? { restarts } : {}),
    ...(again && expires !== undefined ? { expires } : expiryOf(container.record.host)),
    status: "starting",
    bootId: ctx.bootId,
    error: "",
    // Shown as restarting, with how the last run ended, until this one runs.
    exitCode: again ? before.exitCode : 0,
    oomKilled: false,
  };
  let running: Running;
  let network: RunNetwork | undefined;
  try {
    const receiver = container.log?.connect();
    if (receiver) await receiver;
    network = ctx.endpoints.reserve(container);
    if (network) container.state = { ...container.state, network };
    // After a power failure nothing of the start is left to undo: this row need not outlive the machine.
    ctx.store.updateState(container.id, container.state);
    const prepared = await prepareLaunch(ctx, volumes, container);
    try {
      const launching = run(prepared.request);
      // The engine has nothing to do until it hears of the launch.
      const heard = prepared.network ? ctx.endpoints.next.beside(launching) : launching;
      ctx.trash.sweep();
      running = await heard;
    } catch (error) {
      await prepared.undo();
      throw error;
    } finally {
      prepared.close();
    }
    container.spec = prepared.spec();
    // A plain user's may have none.
    container.cgroup = prepared.cgroup.paths().length > 0 ? prepared.cgroup : undefined;
  } catch (error) {
    if (network) ctx.endpoints.release(container, network);
    const status = before.startedAt === ZERO_TIME ? "created" : "exited";
    const exitCode = error instanceof LaunchError ? error.exitCode : 128;
    container.state = { ...before, ...count, status, pid: 0, exitCode, error: messageOf(error) };
    ctx.store.updateState(container.id, container.state);
    ctx.expiry.end(container);
    container.stdio.endClients();
    container.wake(container.exitWaiters);
    throw error instanceof InroError ? error : unavailable(messageOf(error), error);
  }
  container.running = running;
  container.state = {
    ...container.state,
    ...count,
    ...startingHealth(container.record.config, before.health),
    status: "running",
    exitCode: 0,
    pid: running.pid,
    startedAt: nowText(),
    finishedAt: ZERO_TIME,
  };
  // That it was to start is in the row, and its keeper says that it has.
  ctx.store.updateStateSoon(container.id, container.state);
  if (container.record.mounts.length > 0) volumes.mounted(container);
  ctx.endpoints.announce(container);
  if (container.state.network) ctx.dns.changed();
  emit(ctx, container, "start");
  ctx.health.begin(ctx, container);
  ctx.expiry.begin(ctx, container);
  watchExit(ctx, volumes, container, running);
  // Last: output that is there already leaves the pipe now, and is in the log only when this turn is over. A kill in
  // between would lose it.
  container.stdio.connect(running);
}

/** What the spec says of a network namespace that is given by descriptor. */
const GIVEN_NETWORK = `/proc/self/fd/${FD.network}`;

/**
 * The network namespace that the engine may make for a container: one that is `wired` up, or the `empty` one of --network
 * none. That one is the launch's affair where a user namespace of the container's own is to own it.
 */
function ownNetwork(ctx: Context, { record }: Container): PreparedLaunch["network"] {
  if (record.endpoints) return "wired";
  if (record.userns || namespaceModes(record.host, ctx.hierarchy.mode).network.kind !== "private") return undefined;
  return "empty";
}

/** All that a launch needs, made on disk and in the cgroup tree. */
export interface PreparedLaunch {
  request: LaunchRequest;
  /** The OCI config, if it was made: an exec's affair. */
  spec(): Spec | undefined;
  cgroup: Cgroup;
  /** What the engine may make of its network; it need not have. */
  network: "wired" | "empty" | undefined;
  /** Removes what was made for this launch. */
  undo(): Promise<void>;
  /** After the launch, in any case: lets go of what kept the mounts' sources valid. */
  close(): void;
}

/** Prepares a launch; a failure leaves nothing behind. */
export async function prepareLaunch(ctx: Context, volumes: Volumes, container: Container): Promise<PreparedLaunch> {
  const { id, config, host, userns } = container.record;
  const steps: (() => unknown)[] = [];
  const undo = async () => {
    for (const step of steps.splice(0).reverse()) {
      try {
        await step();
      } catch (left) {
        ctx.log(`container ${id.slice(0, 12)}: undoing a failed start: ${messageOf(left)}`);
      }
    }
  };
  if (container.record.mounts.length > 0) {
    if (container.state.startedAt === ZERO_TIME) await fillVolumes(volumes, container);
    steps.push(() => volumes.held.release(id));
  }
  const sources = mountSources(volumes, container);
  const own = ownNetwork(ctx, container);
  // An empty one is taken where it is ready: the kernel needs a fifth of the launch to make it.
  const made = own === "empty" && !ctx.endpoints.next.ready ? undefined : own;
  const joined: number[] = [];
  let namespace: NetworkNamespace | undefined;
  const closeAll = () => {
    sources.close();
    namespace?.close();
    for (const fd of joined.splice(0)) close(fd);
  };
  try {
    const rootfs = prepareRootfs(ctx, container);
    if (rootfs.kind !== "overlay") throw unavailable("an image has a layer");
    const files = writeManagedFiles(ctx, container);
    const makeSpec = () =>
      toSpec({
        id,
        config,
        host,
        rootfs: { lookup: lookupIn(rootfs.upper, rootfs.lower, container.record.imageId) },
        files,
        volumes: sources.mounts,
        ...(userns ? { userns } : {}),
        ...(made ? { network: { path: GIVEN_NETWORK } } : {}),
        namespaceOf(ref, type) {
          const fd = openNamespace(ctx, ref, type);
          joined.push(fd);
          return `/proc/${process.pid}/fd/${fd}`;
        },
      });
    let spec: Spec | undefined;
    const kind = launchKind(ctx, container, rootfs.lower, made, () => readdirSync(rootfs.upper).length === 0);
    let limits = kind === undefined ? undefined : knownKind(kind);
    if (!limits) {
      spec = makeSpec();
      limits = { resources: spec.linux?.resources ?? {}, mayMountCgroups: mayMountCgroups(spec) };
      if (kind !== undefined) rememberKind(kind, limits);
    }
    const runDir = ctx.paths.runDir(id);
    makeRunDirectory(runDir);
    steps.push(() => removeRunDirectory(runDir));
    const cgroup = Cgroup.create(ctx.hierarchy, cgroupPath(id, host.CgroupParent), limits.resources, {
      warn: (message) => ctx.log(`container ${id.slice(0, 12)}: ${message}`),
      everywhere: limits.mayMountCgroups,
    });
    steps.push(() => cgroup.remove());
    for (const path of cgroup.paths().slice(0, 1)) markOwner(path, ctx.paths.dataRoot);
    let given: Given | undefined;
    if (made === "empty") {
      namespace = ctx.endpoints.next.take();
      given = { network: namespace.fd };
    } else if (made === "wired") {
      const ids = userns ? [{ containerID: 0, ...userns }] : [];
      const pair = userns ? createUserAndNetworkNamespace(ids, ids) : undefined;
      if (pair) joined.push(pair.user);
      namespace = ctx.endpoints.wire(container, pair?.network);
      if (ctx.dns.serves(container)) {
        steps.push(() => ctx.dns.end(id));
        await ctx.dns.open(container, namespace.fd);
      }
      given = { network: namespace.fd, ...(pair ? { user: pair.user } : {}) };
    }
    const shm = joinedShm(ctx, container);
    if (shm !== undefined) {
      joined.push(shm);
      given = { ...given, shm };
    }
    const stdin = config.OpenStdin === true;
    const request: LaunchRequest = {
      id,
      kind,
      get spec() {
        spec ??= makeSpec();
        return spec;
      },
      terminal: config.Tty === true,
      kept: sources.kept,
      rootfs,
      cgroup,
      runDir,
      stdin,
      ...(given ? { given } : {}),
      // Stdin that ends with its first client must not be held open by anyone else.
      keepStdin: stdin && config.StdinOnce !== true,
      // An init reaps what pid 1 of a namespace has to; in another's it is not pid 1.
      init: host.Init === true && namespaceModes(host, ctx.hierarchy.mode).pid.kind === "private",
    };
    return { request, spec: () => spec, cgroup, network: own, undo, close: closeAll };
  } catch (error) {
    await undo();
    closeAll();
    throw error;
  }
}

/**
 * The spec that an adopted container was started with, as far as an exec needs it: a record says all, and only its
 * limits can change. Where its shared namespaces were found does not matter any more.
 */
export function specOfRunning(ctx: Context, container: Container): Spec {
  const { id, config, host, userns } = container.record;
  const { upper, lower } = layersOf(ctx, container);
  return toSpec({
    id,
    config,
    host,
    rootfs: { lookup: lookupIn(upper, lower, container.record.imageId) },
    files: managedFiles(ctx, id),
    volumes: [],
    ...(userns ? { userns } : {}),
    namespaceOf: (_, type) => `/proc/self/ns/${NAMESPACE_FILE[type]}`,
  });
}
