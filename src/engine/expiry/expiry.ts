import { InroError, messageOf } from "../../base/errors.ts";
import type { HostConfig } from "../../spec/docker-api.ts";
import type { Container } from "../container.ts";
import { type Context, openCgroup } from "../context.ts";
import { goDuration } from "../duration.ts";
import { stopContainer } from "../stop.ts";
import { Timers } from "../timers.ts";
import { type Idleness, idleAfter, pauseToLook } from "./idleness.ts";

const NANOSECONDS_PER_MS = 1e6;

/** Of a start: when the container is to be stopped, if it has a TTL. */
export function expiryOf({ TTL }: HostConfig): { expires?: number } {
  return TTL ? { expires: Date.now() + TTL / NANOSECONDS_PER_MS } : {};
}

/**
 * Stops containers whose time is over (HostConfig.TTL), and those that nobody has used for long enough (IdleTTL). It is
 * a stop like one by a client: no restart policy answers it. Others cost nothing.
 */
export class Expiry {
  readonly #ends = new Timers<Container>();
  readonly #looks = new Timers<Container>();
  readonly #stopping = new Set<Container>();
  readonly #last = new Map<Container, { at: number; cpu: number }>();

  /** A container runs or waits for its restart: since now, or already when the engine started. */
  begin(ctx: Context, container: Container): void {
    const { expires } = container.state;
    const { TTL, IdleTTL } = container.record.host;
    this.#ends.cancel(container);
    this.#looks.cancel(container);
    if (expires !== undefined) {
      const why = `its time of ${goDuration((TTL ?? 0) / NANOSECONDS_PER_MS)} is over`;
      this.#ends.set(container, expires - Date.now(), () => this.#stop(ctx, container, why));
    }
    if (!IdleTTL || !container.isRunning) return;
    if (!container.state.idle) this.#write(ctx, container, { since: Date.now(), cpu: cpuTime(ctx, container) });
    this.#look(ctx, container, IdleTTL / NANOSECONDS_PER_MS);
  }

  /** A run has ended. One that its policy restarts keeps its time. */
  end(container: Container): void {
    const { status, expires } = container.state;
    this.#looks.cancel(container);
    this.#last.delete(container);
    if (status !== "restarting" || expires === undefined) this.#ends.cancel(container);
  }

  /** The engine leaves; what is to come is in the records. */
  close(): void {
    this.#ends.clear();
    this.#looks.clear();
  }

  #look(ctx: Context, container: Container, span: number): void {
    const { idle } = container.state;
    if (!container.isRunning || !idle) return;
    const look = { at: Date.now(), cpu: cpuTime(ctx, container), inUse: container.takeUse() };
    // An engine that was not there saw no looks: then all since the last that is written counts as one.
    const idleness = idleAfter(idle, this.#last.get(container) ?? { at: idle.since, cpu: idle.cpu }, look);
    this.#last.set(container, look);
    if (idleness !== idle) this.#write(ctx, container, idleness);
    const pause = pauseToLook(idleness, span, look.at);
    if (pause === undefined) this.#stop(ctx, container, `it was idle for ${goDuration(span)}`);
    else this.#looks.set(container, pause, () => this.#look(ctx, container, span));
  }

  #write(ctx: Context, container: Container, idle: Idleness): void {
    container.state = { ...container.state, idle };
    ctx.store.updateState(container.id, container.state);
  }

  #stop(ctx: Context, container: Container, why: string): void {
    // Of one that is just being restarted, the time begins once more when it is there, and then the stop.
    if (!container.isUp || this.#stopping.has(container)) return;
    this.#stopping.add(container);
    ctx.log(`container ${container.id.slice(0, 12)}: is stopped: ${why}`);
    stopContainer(ctx, container)
      .catch((error) => {
        // It has just ended by itself.
        if (error instanceof InroError && error.kind === "notModified") return;
        ctx.log(`container ${container.id.slice(0, 12)}: cannot be stopped: ${messageOf(error)}`);
      })
      .finally(() => this.#stopping.delete(container));
  }
}

/** Nanoseconds. */
function cpuTime(ctx: Context, container: Container): number {
  return openCgroup(ctx, container)?.cpuTime() ?? 0;
}
