import { afterAll, beforeAll, expect } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EventMessage } from "../../spec/docker-api.ts";
import type { Containers } from "../containers.ts";
import { Engine } from "../engine.ts";

export const isRoot = process.getuid?.() === 0;

/** An engine in this process for the tests of one `describe`, on the image `host`; all that happens in it is kept. */
export class EngineInTest {
  readonly directory = mkdtempSync(join(tmpdir(), "inro-engine-"));
  /** Its log; a test takes out what it expected, and nothing may be left. */
  readonly lines: string[] = [];
  #engine: Engine | undefined;
  readonly #all: EventMessage[] = [];
  #listening = new AbortController();
  readonly #waiting = new Set<() => void>();

  get engine(): Engine {
    if (!this.#engine) throw new Error("the engine is not open");
    return this.#engine;
  }

  get containers(): Containers {
    return this.engine.containers;
  }

  async open(): Promise<void> {
    this.#engine = await Engine.open({
      dataRoot: join(this.directory, "data"),
      execRoot: join(this.directory, "run"),
      log: (line) => this.lines.push(line),
    });
    this.#listening = new AbortController();
    void this.#listen(this.#engine.events.subscribe({}, this.#listening.signal));
  }

  async close(options: { idle?: boolean } = {}): Promise<void> {
    this.#listening.abort();
    await this.#engine?.close(options);
    this.#engine = undefined;
  }

  async reopen(options: { idle?: boolean } = {}): Promise<void> {
    await this.close(options);
    await this.open();
  }

  async #listen(events: AsyncIterable<EventMessage>): Promise<void> {
    for await (const event of events) {
      this.#all.push(event);
      for (const wake of this.#waiting) wake();
    }
  }

  /** A container of the image `host` that runs `script`; gives its id. */
  async create(script: string, more: object = {}, name?: string): Promise<string> {
    const body = { Image: "host", Cmd: ["sh", "-c", script], ...more };
    return (await this.engine.containers.create(body, name)).Id;
  }

  async run(script: string, more: object = {}, name?: string): Promise<string> {
    const id = await this.create(script, more, name);
    await this.engine.containers.start(id);
    return id;
  }

  /** What has happened to a container. */
  events(id: string): EventMessage[] {
    return this.#all.filter(({ Actor }) => Actor.ID === id);
  }

  actions(id: string): string[] {
    return this.events(id).map(({ Action }) => Action);
  }

  /** Resolves when `action` has happened to the container `times` times since its creation; gives the last one's event. */
  async event(id: string, action: string, times = 1): Promise<EventMessage> {
    for (;;) {
      const found = this.events(id).filter(({ Action }) => Action === action);
      if (found.length >= times) return found[times - 1]!;
      await this.#next();
    }
  }

  #next(): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#waiting.delete(wake);
        resolve();
      };
      this.#waiting.add(wake);
    });
  }

  async state(id: string) {
    return (await this.engine.containers.inspect(id)).State;
  }

  async remove(...ids: string[]): Promise<void> {
    for (const id of ids) await this.engine.containers.remove(id, { force: true });
  }

  /** Removes all containers; nothing may be left of them. */
  async end(): Promise<void> {
    if (this.#engine) {
      await this.remove(...(await this.engine.containers.list({ all: true })).map(({ Id }) => Id));
      expect(await this.engine.check({ repair: false })).toEqual([]);
      await this.close();
    }
    rmSync(this.directory, { recursive: true, force: true });
    expect(this.lines).toEqual([]);
  }
}

/** Opens before the tests of the `describe` that calls it, and ends after them. */
export function engineInTest(): EngineInTest {
  const inTest = new EngineInTest();
  beforeAll(() => inTest.open());
  afterAll(() => inTest.end());
  return inTest;
}
