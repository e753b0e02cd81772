import { isStatus } from "../client/api-error.ts";
import type { Engine } from "../client/engine.ts";
import type { ContainerStats } from "../spec/docker-api.ts";

/** Containers that are watched, and the last reading of each. */
export class StatsWatch {
  /** By the name or id that was asked for, in order. */
  readonly readings = new Map<string, ContainerStats | undefined>();
  readonly #closers = new Map<string, () => void>();
  #failed!: (error: unknown) => void;
  /** Rejects when the engine cannot be heard any more. */
  readonly failure = new Promise<never>((_, reject) => {
    this.#failed = reject;
  });

  constructor(private readonly api: Engine) {
    this.failure.catch(() => {});
  }

  /** Those that run, with `all` any, and those that come meanwhile. */
  async addAll(all: boolean): Promise<void> {
    // Before the list: what starts in between is in both.
    const { events, close } = await this.api.events({ filters: { type: ["container"] } });
    this.#closers.set("", close);
    this.#follow("", events, async ({ Action, Actor }) => {
      if (Action === (all ? "create" : "start")) await this.add(Actor.ID).catch(ignoreGone);
      else if (Action === "destroy" || (Action === "die" && !all)) this.#drop(Actor.ID);
    });
    for (const { Id } of await this.api.listContainers({ all })) await this.add(Id).catch(ignoreGone);
  }

  /** Throws for a container that is not there. */
  async add(name: string): Promise<void> {
    if (this.#closers.has(name)) return;
    this.#closers.set(name, () => {});
    try {
      const { readings, close } = await this.api.followStats(name);
      this.#closers.set(name, close);
      this.readings.set(name, undefined);
      this.#follow(name, readings, (reading) => {
        if (this.#closers.has(name)) this.readings.set(name, reading);
      }).then(() => this.#drop(name));
    } catch (error) {
      this.#drop(name);
      throw error;
    }
  }

  async #follow<T>(name: string, items: AsyncIterable<T>, take: (item: T) => void | Promise<void>): Promise<void> {
    try {
      for await (const item of items) await take(item);
    } catch (error) {
      // One that was dropped was cut by its closer.
      if (this.#closers.has(name)) this.#failed(error);
    }
  }

  #drop(name: string): void {
    this.readings.delete(name);
    this.#closers.get(name)?.();
    this.#closers.delete(name);
  }

  close(): void {
    for (const name of [...this.#closers.keys()]) this.#drop(name);
  }
}

function ignoreGone(error: unknown): void {
  if (!isStatus(error, 404)) throw error;
}
