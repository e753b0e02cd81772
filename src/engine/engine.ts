import { hostname } from "node:os";
import { removeEmptyParent } from "../cgroups/cgroup.ts";
import { delegatedHierarchy } from "../cgroups/delegated.ts";
import { detectHierarchy } from "../cgroups/hierarchy.ts";
import { ContentStore } from "../content/store.ts";
import type { ImageUser } from "../images/images.ts";
import { type LayerForm, Layers } from "../layers/layers.ts";
import { inUserNamespace } from "../linux/rights.ts";
import type { RegistryAuth } from "../registry/auth.ts";
import { checkCredentials } from "../registry/login.ts";
import type { DebugCreated } from "../spec/debug.ts";
import { Archives } from "./archives.ts";
import { Builds } from "./build/builds.ts";
import { operations } from "./build/operations.ts";
import { check } from "./check.ts";
import { completeLogConfig, DEFAULT_LOG, type LogConfig } from "./config/log-config.ts";
import { CGROUP_ROOT } from "./config/to-spec.ts";
import { Containers } from "./containers.ts";
import { type Context, readBootId } from "./context.ts";
import { createDebug } from "./debug/debug.ts";
import { endDebugTargets } from "./debug/target.ts";
import { DiskUsages } from "./disk-usage.ts";
import { EventLog } from "./events.ts";
import { Execs } from "./execs.ts";
import { Expiry } from "./expiry/expiry.ts";
import { type ExplainedStep, explain } from "./explain.ts";
import { HealthMonitor } from "./health/monitor.ts";
import { EngineImages } from "./host-image.ts";
import { ImageCollection } from "./image-collection.ts";
import { info, version } from "./info.ts";
import { DirectoryLock } from "./lock.ts";
import { JOURNAL_SOCKET } from "./log/remote/journald.ts";
import { ContainerDns } from "./networks/container-dns.ts";
import { NetworkDriver } from "./networks/driver.ts";
import { Endpoints } from "./networks/endpoints.ts";
import { NetworkStore } from "./networks/network-store.ts";
import { Networks } from "./networks/networks.ts";
import { NetworkRequests } from "./networks/requests.ts";
import { Paths } from "./paths.ts";
import { reconcile } from "./reconcile.ts";
import type { Finding } from "./requests.ts";
import { Restarts } from "./restart/restarts.ts";
import { DEFAULT_SETTINGS, type EngineSettings } from "./settings.ts";
import { startOrDiscard } from "./start-or-discard.ts";
import { Stats } from "./stats/stats.ts";
import { finishRestarts } from "./stop.ts";
import { Store } from "./store.ts";
import { ContainerTable } from "./table.ts";
import { Trash } from "./trash.ts";
import { Volumes } from "./volumes.ts";

export type * from "./requests.ts";

export interface EngineOptions {
  /** What survives a reboot: database, content, layers, containers, volumes. Made 0700 if missing. */
  dataRoot: string;
  /** What does not: run directories of containers. Made 0700 if missing. */
  execRoot: string;
  /** Where ports are published that name no address of the host; default 127.0.0.1. */
  publishAddress?: string;
  /** How layers of images are kept; by default without unpacking where that works. */
  layerForm?: LayerForm;
  /** False: containers that name no network have none, and there is no network `bridge` (docker's `--bridge none`). */
  defaultBridge?: boolean;
  settings?: EngineSettings;
  /** The log of containers that ask for none; json-file by default. */
  defaultLog?: LogConfig;
  /** journald's socket, where it is not in the usual place. */
  journal?: string;
  /** Keys of labels that containers do not get from their image. */
  reservedLabels?: readonly string[];
  /** One line for the operator's log, no line end. */
  log(line: string): void;
}

/**
 * The engine: everything a Docker-compatible API does, without HTTP. Errors are `InroError` with the kind that the API
 * maps to a status. Nothing is true in memory only: after `kill -9` the next {@link Engine.open} on the same
 * directories finds every container, exit code and log line again.
 */
export class Engine {
  readonly containers: Containers;
  readonly execs: Execs;
  readonly volumes: Volumes;
  readonly diskUsages: DiskUsages;
  readonly stats: Stats;
  readonly archives: Archives;
  readonly collection: ImageCollection;
  readonly builds: Builds;
  readonly #ctx: Context;
  readonly #locks: DirectoryLock[];
  readonly #networks: NetworkRequests;

  private constructor(ctx: Context, locks: DirectoryLock[], parts: { content: ContentStore; layers: Layers }) {
    this.#ctx = ctx;
    this.#locks = locks;
    this.volumes = new Volumes(ctx);
    this.diskUsages = new DiskUsages(this, ctx);
    this.containers = new Containers(ctx, this.volumes);
    this.execs = new Execs(ctx);
    this.stats = new Stats(ctx);
    this.collection = new ImageCollection(ctx);
    this.archives = new Archives(ctx, this.volumes);
    this.#networks = new NetworkRequests(ctx);
    this.builds = new Builds(ctx, operations, parts);
  }

  /**
   * Opens the directories, takes their locks and reconciles what happened meanwhile. A second engine on the same
   * directories is a conflict that names the pid of the first.
   */
  static async open(options: EngineOptions): Promise<Engine> {
    const paths = new Paths(options.dataRoot, options.execRoot);
    const locks: DirectoryLock[] = [];
    let store: Store | undefined;
    try {
      locks.push(await DirectoryLock.take(paths.dataRoot));
      if (paths.execRoot !== paths.dataRoot) locks.push(await DirectoryLock.take(paths.execRoot));
      store = new Store(paths.database);
      const events = new EventLog();
      const parts = { content: new ContentStore(paths.content), layers: new Layers(paths.layers, options.layerForm) };
      const images = new EngineImages(
        {
          db: store.db,
          ...parts,
          tempDir: paths.temporary,
          registries: () => ctx.settings.registries,
        },
        events,
      );
      const table = new ContainerTable();
      const networkStore = new NetworkStore(store.db);
      const bootId = readBootId();
      const router = { bootId, store: networkStore };
      const driver = new NetworkDriver(`inro-${store.engineId.slice(0, 8)}`, router, options.log);
      const predefined = options.defaultBridge === false ? ["host", "none"] : ["bridge", "host", "none"];
      const networks = new Networks(networkStore, driver, table, events, predefined);
      const publish = options.publishAddress ?? "127.0.0.1";
      const endpoints = new Endpoints(networks, store, table, events, publish, options.log);
      const ctx: Context = {
        paths,
        store,
        hierarchy: inUserNamespace() ? delegatedHierarchy(detectHierarchy()) : detectHierarchy(),
        table,
        images,
        events,
        networks,
        endpoints,
        dns: new ContainerDns(networks, table, endpoints.egress, options.log),
        trash: new Trash(paths.temporary, options.log),
        health: new HealthMonitor(),
        expiry: new Expiry(),
        restarts: new Restarts((container) => startOrDiscard(ctx, engine.volumes, container, { again: true })),
        bootId,
        defaultLog: completeLogConfig({}, options.defaultLog ?? DEFAULT_LOG),
        journal: options.journal ?? JOURNAL_SOCKET,
        settings: options.settings ?? DEFAULT_SETTINGS,
        reservedLabels: options.reservedLabels ?? [],
        log: options.log,
      };
      const engine = new Engine(ctx, locks, parts);
      await reconcile(ctx, engine.volumes);
      await engine.builds.recover();
      await ctx.dns.adopt();
      for (const container of ctx.table.all()) if (container.isUp) ctx.expiry.begin(ctx, container);
      await endDebugTargets(ctx, engine.volumes);
      finishRestarts(ctx);
      ctx.restarts.begin(ctx, { idle: store.takeIdle(ctx.bootId) });
      images.collect((id) => ctx.table.usersOf(id));
      engine.collection.begin();
      images.sweep();
      return engine;
    } catch (error) {
      await store?.close();
      for (const lock of locks) lock.release();
      throw error;
    }
  }

  get images(): EngineImages {
    return this.#ctx.images;
  }

  get networks(): NetworkRequests {
    return this.#networks;
  }

  get events(): EventLog {
    return this.#ctx.events;
  }

  /** POST /inro/debug: {@link createDebug}. */
  debug(body: unknown, signal: AbortSignal): Promise<DebugCreated> {
    return createDebug(this.#ctx, { volumes: this.volumes, execs: this.execs }, body, signal);
  }

  /** Who uses an image, for `images.remove`. */
  imageUsers(imageId: string): ImageUser[] {
    return this.#ctx.table.usersOf(imageId);
  }

  /** POST /auth: rejects unless the registry takes the credentials. */
  authenticate(auth: RegistryAuth, signal?: AbortSignal): Promise<void> {
    return checkCredentials(auth, this.#ctx.settings.registries, signal);
  }

  /** Keys of labels that give rights. */
  get reservedLabels(): readonly string[] {
    return this.#ctx.reservedLabels;
  }

  get settings(): EngineSettings {
    return this.#ctx.settings;
  }

  /** Takes other settings from now on, and tells who listens, with what they are, by their names. */
  reload(settings: EngineSettings, shown: Record<string, string>): void {
    this.#ctx.settings = settings;
    this.#ctx.events.emit("daemon", "reload", this.#ctx.store.engineId, { name: hostname(), ...shown });
  }

  /** GET /info. */
  info(): Promise<Record<string, unknown>> {
    return info(this.#ctx);
  }

  /** GET /version; `minVersion` is the oldest version of the API that is served. */
  version(minVersion: string): Record<string, unknown> {
    return version(minVersion);
  }

  /** The launch of a create request as steps; nothing stays. With `trace` it is run once, and timed. */
  explain(body: unknown, options: { trace: boolean }): Promise<{ steps: ExplainedStep[] }> {
    return explain(this.#ctx, this.volumes, body, options);
  }

  /** Compares the machine with the records and, with `repair`, mends what differs. Empty: all is well. */
  check(options: { repair: boolean; images?: boolean }): Promise<Finding[]> {
    return check(this.#ctx, options);
  }

  /**
   * Nothing runs, is being started or cleaned up, waits for its restart, and no client is attached or listens for events: the process may
   * leave. Requests in progress (pulls, logs, waits) are the API's to know.
   */
  get idle(): boolean {
    const busy = this.#ctx.table
      .all()
      .some(
        (container) =>
          container.running ||
          container.ending ||
          container.state.status === "restarting" ||
          container.mutex.pending > 0 ||
          container.stdio.clients > 0,
      );
    return !busy && !this.builds.busy && !this.#ctx.trash.busy && !this.execs.busy && this.#ctx.events.listeners === 0;
  }

  /**
   * Lets go of everything, and leaves the containers running. `idle`: the engine goes because there is nothing to do, so
   * that its next start is no event for what docker starts with its daemon.
   */
  async close(options: { idle?: boolean } = {}): Promise<void> {
    this.#ctx.restarts.close();
    this.#ctx.expiry.close();
    await this.#ctx.health.close();
    await this.builds.close();
    await this.collection.close();
    if (options.idle) this.#ctx.store.noteIdle(this.#ctx.bootId);
    await this.execs.close();
    for (const container of this.#ctx.table.all()) {
      container.copies?.abort("the engine is leaving");
      await container.mutex.run(async () => {
        if (container.ending) await container.finished;
        await container.stdio.disconnect();
        container.running?.abandon();
        container.running = undefined;
      });
    }
    this.#ctx.dns.close();
    this.#ctx.endpoints.close();
    await this.#ctx.trash.empty();
    removeEmptyParent(this.#ctx.hierarchy, CGROUP_ROOT);
    await this.#ctx.store.close();
    for (const lock of this.#locks) lock.release();
  }
}
