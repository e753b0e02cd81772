import { codeOf, conflict, InroError, invalid, messageOf, notImplemented, unavailable } from "../base/errors.ts";
import { setWindowSize } from "../linux/process.ts";
import type { Change, ContainerInspect, ContainerSummary, CreateResponse } from "../spec/docker-api.ts";
import { containerName } from "./config/names.ts";
import type { Container } from "./container.ts";
import { containerChanges } from "./container-changes.ts";
import { pruneContainers } from "./container-prune.ts";
import { type Context, emit, openCgroup, processesOf } from "./context.ts";
import { createContainer } from "./create.ts";
import { inspectContainer, summarize } from "./inspect.ts";
import { containerFilter } from "./list-filters.ts";
import { checkLogOptions, readLogs, unframed } from "./log/logs.ts";
import { LogReader } from "./log/reader.ts";
import { writeNames } from "./managed-files.ts";
import { removeContainer } from "./remove.ts";
import type {
  Attachment,
  AttachOptions,
  Bounds,
  Filters,
  ListOptions,
  LogOptions,
  LogStream,
  RemoveOptions,
  StopOptions,
  WaitCondition,
  Waiting,
} from "./requests.ts";
import { refuseRestarting } from "./restart/restarts.ts";
import { makeLayer } from "./rootfs.ts";
import { startOrDiscard } from "./start-or-discard.ts";
import { forceEnd, killContainer, stopContainer } from "./stop.ts";
import type { ContainerRecord } from "./store.ts";
import { processTable } from "./top/table.ts";
import { updateContainer } from "./update.ts";
import { fillVolumes } from "./volumes/fill.ts";
import type { Volumes } from "./volumes.ts";
import { wait } from "./wait.ts";
import { whileThere } from "./while-there.ts";

/**
 * The containers. `ref` is a full id, a unique prefix of one, or a name (with or without `/`); "No such container" is
 * notFound. Operations on one container run one after the other, except for attach, logs, wait, list and inspect.
 */
export class Containers {
  constructor(
    private readonly ctx: Context,
    private readonly volumes: Volumes,
  ) {}

  /** `body` is the untrusted CreateRequest. A name in use is a conflict, an absent image notFound, all else invalid. */
  async create(body: unknown, name?: string, platform?: string, bounds?: Bounds): Promise<CreateResponse> {
    const created = createContainer(this.ctx, this.volumes, { body, name, platform, bounds });
    const container = this.ctx.table.get(created.Id);
    if (container.record.mounts.length > 0) await this.#fill(container);
    if (!container.durable) return created;
    const synced = this.ctx.store.sync();
    // The disk is at it by then. What the first start needs can be made meanwhile, and if it cannot, that start says why.
    await Promise.resolve();
    try {
      makeLayer(this.ctx, container);
      writeNames(this.ctx, container);
    } catch (error) {
      this.ctx.log(`container ${container.id.slice(0, 12)}: ${messageOf(error)}`);
    }
    await synced;
    return created;
  }

  /** One whose volumes cannot be filled is not made. */
  async #fill(container: Container): Promise<void> {
    try {
      await container.mutex.run(() => fillVolumes(this.volumes, container));
    } catch (error) {
      await container.mutex.run(() => removeContainer(this.ctx, this.volumes, container, { volumes: true }));
      throw error;
    }
  }

  /** notModified if it runs; a launch that fails is recorded in State (126, 127, 128) and thrown. */
  async start(ref: string, _options: { detachKeys?: string } = {}): Promise<void> {
    const container = this.#get(ref);
    await container.mutex.run(() => startOrDiscard(this.ctx, this.volumes, container));
  }

  /** Works before the start too: then output begins with it. */
  async attach(ref: string, options: AttachOptions): Promise<Attachment> {
    const container = this.#get(ref);
    if (container.state.status === "paused") {
      throw conflict(`container ${container.record.name} is paused, unpause the container before attach`);
    }
    if (container.state.status === "removing") throw conflict(`container ${container.id} is marked for removal`);
    refuseRestarting(container);
    const attachment = container.stdio.attach(options);
    container.use();
    emit(this.ctx, container, "attach");
    return attachment;
  }

  /** Throws notFound or invalid (condition) at once. */
  wait(ref: string, condition?: WaitCondition): Waiting {
    return wait(this.#get(ref), condition);
  }

  async logs(ref: string, options: LogOptions): Promise<LogStream> {
    const container = this.#get(ref);
    checkLogOptions(options);
    if (container.state.status === "removing") {
      throw conflict("can not get logs from container which is dead or marked for removal");
    }
    if (!container.log?.file) throw notImplemented("configured logging driver does not support reading");
    const reader = new LogReader(container.log.file);
    const tty = container.record.config.Tty ?? false;
    return {
      tty,
      output: unframed(readLogs(reader, options, true)),
      wire: readLogs(reader, options, !tty),
      close: () => reader.close(),
    };
  }

  /** `signal`: a name with or without SIG, or a number; default SIGKILL. Not running is a conflict. */
  async kill(ref: string, signal?: string): Promise<void> {
    await killContainer(this.ctx, this.#get(ref), signal);
  }

  /** notModified if it does not run. Resolves when it has ended. */
  async stop(ref: string, options: StopOptions = {}): Promise<void> {
    await stopContainer(this.ctx, this.#get(ref), options);
  }

  /** Starts a stopped one too. */
  async restart(ref: string, options: StopOptions = {}): Promise<void> {
    const container = this.#get(ref);
    const unlessDone = (error: unknown) => {
      if (!(error instanceof InroError && error.kind === "notModified")) throw error;
    };
    if (container.isUp || container.state.status === "starting") {
      // It may just have ended by itself, or could not be started.
      await stopContainer(this.ctx, container, { ...options, restart: true }).catch(unlessDone);
    }
    // Somebody else may just have started it.
    await container.mutex
      .run(() => {
        const again = container.state.status === "restarting";
        return startOrDiscard(this.ctx, this.volumes, container, { again });
      })
      .catch(unlessDone);
    emit(this.ctx, container, "restart");
  }

  /** Running without `force`: conflict. */
  async remove(ref: string, options: RemoveOptions = {}): Promise<void> {
    const container = this.#get(ref);
    if (container.isUp && !options.force) {
      const { name } = container.record;
      const [how, advice] =
        container.state.status === "paused"
          ? ["paused", "unpause and then stop the container before removing or force remove"]
          : [container.state.status, "stop the container before removing or force remove"];
      throw conflict(`cannot remove container "/${name}": container is ${how}: ${advice}`);
    }
    if (container.state.status === "removing") {
      throw conflict(`removal of container ${container.id} is already in progress`);
    }
    container.copies?.abort(`container ${container.id} is being removed`);
    await container.mutex.run(async () => {
      if (container.isUp && !options.force) {
        throw conflict(`cannot remove container "/${container.record.name}": container is ${container.state.status}`);
      }
      if (container.isRunning) await forceEnd(this.ctx, container);
      this.ctx.restarts.cancel(this.ctx, container, { stopped: true });
      await container.finished;
      await removeContainer(this.ctx, this.volumes, container, { volumes: options.volumes === true });
    });
  }

  /** Newest first. */
  async list(options: ListOptions = {}): Promise<ContainerSummary[]> {
    const { filters = new Map(), limit = 0 } = options;
    const matches = containerFilter(filters, {
      createdOf: (ref) => this.#get(ref).record.created,
      imageId: (ref) => this.#imageId(ref),
      networkId: (ref) => orNone(() => this.ctx.networks.get(ref).id),
    });
    const all = options.all || limit > 0 || (filters.get("status")?.length ?? 0) > 0;
    const found = this.ctx.table
      .all()
      .filter((container) => (all || container.isUp) && matches(container))
      .sort((a, b) => (a.record.created < b.record.created ? 1 : -1));
    const shown = limit > 0 ? found.slice(0, limit) : found;
    return Promise.all(shown.map((container) => summarize(this.ctx, container, options.size === true)));
  }

  async inspect(ref: string, options: { size?: boolean } = {}): Promise<ContainerInspect> {
    const container = this.#get(ref);
    return whileThere(container, inspectContainer(this.ctx, container, options.size === true));
  }

  /** Characters. Not running is a conflict; without a terminal nothing happens. */
  async resize(ref: string, height: number, width: number): Promise<void> {
    const container = this.#get(ref);
    if (![height, width].every((n) => Number.isInteger(n) && n >= 0 && n <= 0xffff)) {
      throw invalid(`invalid size of a terminal: ${height} by ${width}`);
    }
    const { running } = container;
    refuseRestarting(container);
    if (!container.isRunning || !running) throw conflict(`container ${container.id} is not running`);
    if (running.pty === undefined) return;
    setWindowSize(running.pty, height, width);
    emit(this.ctx, container, "resize", { height: String(height), width: String(width) });
  }

  async pause(ref: string): Promise<void> {
    const container = this.#get(ref);
    await container.mutex.run(async () => {
      if (container.state.status === "paused") throw conflict(`container ${container.id} is already paused`);
      refuseRestarting(container);
      if (!container.isRunning) throw conflict(`container ${container.id} is not running`);
      const cgroup = openCgroup(this.ctx, container);
      if (!cgroup && this.ctx.hierarchy.delegated) {
        throw unavailable(
          "cannot pause the container: no cgroup is delegated to this user: run the engine in a unit with Delegate=yes",
        );
      }
      await this.#orEnded(container, cgroup?.freeze());
      this.#setFrozen(container, "running", "paused");
    });
  }

  async unpause(ref: string): Promise<void> {
    const container = this.#get(ref);
    await container.mutex.run(async () => {
      if (container.state.status !== "paused") throw conflict(`container ${container.id} is not paused`);
      await this.#orEnded(container, openCgroup(this.ctx, container)?.thaw());
      this.#setFrozen(container, "paused", "running");
    });
  }

  /** A container that ends meanwhile takes its cgroup along: a conflict. */
  async #orEnded(container: Container, work: Promise<void> | undefined): Promise<void> {
    try {
      await work;
    } catch (error) {
      const gone = codeOf(error) === "ENOENT" || codeOf(error) === "ENODEV";
      throw gone ? conflict(`container ${container.id} is not running`, error) : error;
    }
  }

  #setFrozen(container: Container, from: "running" | "paused", to: "running" | "paused"): void {
    // It may have been killed meanwhile.
    if (container.state.status !== from) return;
    container.state = { ...container.state, status: to };
    this.ctx.store.updateState(container.id, container.state);
    emit(this.ctx, container, to === "paused" ? "pause" : "unpause");
  }

  async rename(ref: string, name: string): Promise<void> {
    const container = this.#get(ref);
    if (name === "") throw invalid("neither old nor new names may be empty");
    const wanted = containerName(name);
    await container.mutex.run(async () => {
      const old = container.record.name;
      if (wanted === old) throw invalid("Renaming a container with the same name as its current name");
      const other = this.ctx.table.byName(wanted);
      if (other)
        throw conflict(`Conflict. The container name "/${wanted}" is already in use by container "${other.id}".`);
      container.record = { ...container.record, name: wanted };
      this.ctx.store.updateContainer(container.record);
      this.ctx.table.rename(container, old);
      this.ctx.dns.changed();
      emit(this.ctx, container, "rename", { oldName: `/${old}` });
    });
  }

  async changes(ref: string, signal = new AbortController().signal): Promise<Change[]> {
    const container = this.#get(ref);
    return whileThere(container, containerChanges(this.ctx, container, signal));
  }

  /** `psArgs` default `-ef`; Titles and Processes as ps(1) prints them. */
  async top(ref: string, psArgs?: string): Promise<{ Titles: string[]; Processes: string[][] }> {
    const container = this.#get(ref);
    refuseRestarting(container);
    if (!container.isRunning) throw conflict(`container ${container.id} is not running`);
    const table = await processTable(processesOf(this.ctx, container), psArgs || undefined);
    emit(this.ctx, container, "top");
    return table;
  }

  /** Body of POST /containers/{id}/update; `blockDevices`: its lists of block devices count (API 1.55). */
  async update(ref: string, body: unknown, options = { blockDevices: true }): Promise<{ Warnings: string[] }> {
    const container = this.#get(ref);
    return container.mutex.run(async () => updateContainer(this.ctx, container, body, options));
  }

  /** Removes the stopped ones (filters `until`, `label`, `label!`). */
  prune(filters: Filters = new Map()): Promise<{ ContainersDeleted: string[]; SpaceReclaimed: number }> {
    return pruneContainers(this.ctx, filters, (id) => this.remove(id));
  }

  /** What is recorded of a container. */
  record(ref: string): ContainerRecord {
    return this.#get(ref).record;
  }

  /** The full id behind a reference. */
  resolve(ref: string): string {
    return this.#get(ref).id;
  }

  #get(ref: string): Container {
    return this.ctx.table.get(ref);
  }

  #imageId(ref: string): string | undefined {
    return orNone(() => this.ctx.images.find(ref).id);
  }
}

function orNone(find: () => string): string | undefined {
  try {
    return find();
  } catch (error) {
    if (error instanceof InroError && error.kind === "notFound") return undefined;
    throw error;
  }
}
