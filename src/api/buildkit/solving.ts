import { InroError, notFound } from "../../base/errors.ts";
import type { BuildResult } from "../../build/builder.ts";
import type { CacheOption } from "../../engine/build/cache-options.ts";
import type { BuildEvent } from "../../spec/build.ts";
import { Arrivals } from "./arrivals.ts";

/** What a build came to, or the texts that a look at the Dockerfile did. */
export interface Solved {
  readonly result?: BuildResult;
  readonly metadata: ReadonlyMap<string, Uint8Array>;
}

/** Bytes of output that nobody has read yet: what comes then is not told. */
const MOST_QUEUED = 16 << 20;

/** One `Control/Solve`: what its gateway calls have built, and its progress. */
export class Solving {
  readonly #solved = new Map<string, Solved>();
  readonly #returned = Promise.withResolvers<string>();
  readonly #events: BuildEvent[] = [];
  #queued = 0;
  /** That the control call named; a frontend's may be others. */
  caches: readonly CacheOption[] = [];
  #over = false;
  #wake = () => {};

  constructor(
    readonly session: string,
    readonly allow: ReadonlySet<string>,
    readonly signal: AbortSignal,
  ) {
    this.#returned.promise.catch(() => {});
    signal.addEventListener("abort", () => this.#returned.reject(signal.reason), { once: true });
  }

  /** Keeps what was built until {@link close}; the answer is its name in later calls. */
  keep(solved: Solved): string {
    if (this.#over) {
      void solved.result?.close();
      throw notFound("the build is over");
    }
    const id = `inro-${this.#solved.size}`;
    this.#solved.set(id, solved);
    return id;
  }

  /** Of a name of {@link keep}, or one of its parts. */
  find(id: string): Solved {
    const solved = this.#solved.get(id.split("/")[0]!);
    if (!solved) throw notFound(`no such result of this build: ${id.slice(0, 100)}`);
    return solved;
  }

  /** The client's last word: the name of the result, none for nothing, or why there is none. */
  return(outcome: { id: string } | { error: string }): void {
    if ("id" in outcome) this.#returned.resolve(outcome.id);
    else this.#returned.reject(new InroError("internal", outcome.error));
  }

  /** What the client has returned; undefined for nothing. */
  async outcome(): Promise<Solved | undefined> {
    const id = await this.#returned.promise;
    return id === "" ? undefined : this.find(id);
  }

  readonly report = (event: BuildEvent): void => {
    const size = outputOf(event);
    if (size > 0 && this.#queued + size > MOST_QUEUED) return;
    this.#queued += size;
    this.#events.push(event);
    this.#wake();
  };

  /** All progress, to the end of the build. One reader. */
  async *events(signal: AbortSignal): AsyncGenerator<BuildEvent> {
    signal.addEventListener("abort", () => this.#wake(), { once: true });
    while (!signal.aborted) {
      const event = this.#events.shift();
      if (event) {
        this.#queued -= outputOf(event);
        yield event;
      } else if (this.#over) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  async close(): Promise<void> {
    this.#over = true;
    this.#wake();
    for (const { result } of this.#solved.values()) await result?.close();
  }
}

const outputOf = ({ logs }: BuildEvent) => (logs ?? []).reduce((sum, { data }) => sum + data.length, 0);

const solvings = new Arrivals<Solving>();
const REFERENCE = /^[A-Za-z0-9_.-]{1,128}$/;

/** Does `work` as the build of this name, which other calls find meanwhile, and a little longer its progress. */
export async function solving<T>(ref: string, one: Solving, work: () => Promise<T>): Promise<T> {
  if (!REFERENCE.test(ref)) throw new InroError("invalid", "a build needs a name");
  if (solvings.has(ref)) throw new InroError("conflict", `build ${ref} is there already`);
  solvings.add(ref, one);
  try {
    return await work();
  } finally {
    await one.close();
    // A call for its progress may come behind its end.
    const late = setTimeout(() => solvings.remove(ref), 3000);
    late.unref();
  }
}

/** The build of this name; one that is still to come is waited for. notFound then. */
export async function solvingOf(ref: string, signal: AbortSignal): Promise<Solving> {
  const one = REFERENCE.test(ref) ? await solvings.get(ref, signal) : undefined;
  if (!one) throw notFound(`no build ${ref.slice(0, 128)}`);
  return one;
}
