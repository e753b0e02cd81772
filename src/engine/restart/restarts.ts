import { conflict, messageOf } from "../../base/errors.ts";
import type { Container } from "../container.ts";
import type { Context } from "../context.ts";
import { Timers } from "../timers.ts";
import { joinedContainers, startsWithEngine } from "./policy.ts";

/** How long a container waits for another that it joins and that is to be started too. */
const OWNER_MS = 50;

/**
 * Containers that wait for their next start by the engine: state `restarting`, with the time in the record, so that
 * another engine goes on where this one ended.
 */
export class Restarts {
  readonly #timers = new Timers<Container>();
  #turn: Promise<unknown> = Promise.resolve();
  #closed = false;

  /** `start` starts a container whose state is `restarting`; the caller holds its mutex. */
  constructor(private readonly start: (container: Container) => Promise<void>) {}

  /** Waits for the time in the container's record; without one nothing happens. */
  schedule(ctx: Context, container: Container): void {
    const { status, restarts } = container.state;
    if (this.#closed || status !== "restarting" || restarts?.due === undefined) return;
    // The clock may have been set since.
    const left = Math.min(restarts.due - Date.now(), restarts.delay);
    this.#timers.set(container, left, () => void this.#due(ctx, container));
  }

  async #due(ctx: Context, container: Container): Promise<void> {
    const awaited = joinedContainers(container.record.host).some((ref) => isComing(ctx, ref));
    if (awaited && !this.#closed) return this.#timers.set(container, OWNER_MS, () => void this.#due(ctx, container));
    // Hundreds may be due at once, when an engine starts: in between it has an ear for its clients.
    this.#turn = this.#turn.then(() => new Promise(setImmediate));
    await this.#turn;
    try {
      await container.mutex.run(async () => {
        if (container.state.status === "restarting" && !this.#closed) await this.start(container);
      });
    } catch (error) {
      // It is in the container's state too; nobody is there to be told.
      ctx.log(`container ${container.id.slice(0, 12)}: cannot be restarted: ${messageOf(error)}`);
    }
  }

  /** A client does not want to wait: it starts now, and counts anew. */
  hasten(ctx: Context, container: Container): void {
    const { expires: _expires, ...state } = container.state;
    container.state = { ...state, restarts: { count: 0, delay: 0, due: Date.now() } };
    ctx.store.updateState(container.id, container.state);
    ctx.expiry.end(container);
    this.schedule(ctx, container);
  }

  /** What waits does not start any more: it has ended, as its state then says. `stopped`: somebody asked for that. */
  cancel(ctx: Context, container: Container, options: { stopped: boolean }): void {
    this.#timers.cancel(container);
    if (container.state.status !== "restarting") return;
    const { restarts, ...state } = container.state;
    const { count = 0, delay = 0 } = restarts ?? {};
    container.state = {
      ...state,
      status: "exited",
      restarts: { count, delay },
      ...(options.stopped ? { stopped: true } : {}),
    };
    ctx.store.updateState(container.id, container.state);
    ctx.expiry.end(container);
    container.wake(container.exitWaiters);
  }

  /** An engine has started: goes on with what waits, and unless it comes back from `idle`, starts what starts with it. */
  begin(ctx: Context, options: { idle: boolean }): void {
    for (const container of ctx.table.all()) {
      const { record, state } = container;
      const over = state.expires !== undefined && state.expires <= Date.now();
      const starts = !over && startsWithEngine(record.host, state.stopped === true);
      if (!options.idle && state.status === "exited" && starts) {
        container.state = { ...state, status: "restarting", restarts: { count: 0, delay: 0, due: Date.now() } };
        ctx.store.updateState(container.id, container.state);
      }
      this.schedule(ctx, container);
    }
  }

  /** The engine leaves; what waits is in the records. */
  close(): void {
    this.#closed = true;
    this.#timers.clear();
  }
}

function isComing(ctx: Context, ref: string): boolean {
  try {
    const { status } = ctx.table.get(ref).state;
    return status === "restarting" || status === "starting";
  } catch {
    // Gone; the start says so.
    return false;
  }
}

/** Throws conflict for a container that waits for its restart: there is no process to do anything with. */
export function refuseRestarting({ id, state }: Container): void {
  if (state.status !== "restarting") return;
  throw conflict(`Container ${id} is restarting, wait until the container is running`);
}
