import { Slots } from "../base/slots.ts";
import type { ContentStore } from "../content/store.ts";
import { Flights } from "../images/flights.ts";
import type { Hold } from "../images/holds.ts";
import type { Layers } from "../layers/layers.ts";
import type { BuildCache, CacheRecord } from "./cache.ts";
import type { Ops } from "./ops.ts";
import type { Progress } from "./progress.ts";
import type { OpenContext } from "./roots.ts";
import { Solve } from "./solve.ts";
import type { RunStep, StepContext } from "./step.ts";
import type { ImportedCaches } from "./transfer/imported.ts";

/** What one build brings along: its client's side. */
export interface BuildSession {
  /** `context` is the main one. `transferred` hears of the bytes that came. */
  open(name: string, transferred: (bytes: number) => void, signal: AbortSignal): Promise<OpenContext>;
  readonly limits?: Pick<RunStep, "limits" | "shmSize" | "ulimits">;
  /** Part of the key of every RUN: hosts that are added. */
  readonly extraHosts: readonly string[];
  /** Caches of others that this build may use. */
  readonly imported?: ImportedCaches | undefined;
}

export interface SolverOptions<S extends BuildSession> {
  readonly ops: Ops;
  readonly cache: BuildCache;
  readonly content: ContentStore;
  readonly layers: Layers;
  hold(): Hold;
  /** For one step; `session` is of the build that came first, if several want it. */
  context(session: S, step: Pick<StepContext, "signal" | "log" | "epoch" | "hold">): StepContext;
  /** Steps that run at the same time. */
  readonly parallel?: number;
}

/**
 * Does the work of graphs, each step once: keys are made of what a step does and of the contents that it sees, so
 * whatever came to the same contents, by whichever way, goes on from there. Independent vertices run at the same time.
 */
export class Solver<S extends BuildSession> {
  readonly flights = new Flights<CacheRecord, { stream: 1 | 2; bytes: Uint8Array }>();
  readonly slots: Slots;

  constructor(readonly options: SolverOptions<S>) {
    this.slots = new Slots(options.parallel ?? 16);
  }

  /** One build's view. The caller closes it when the result is recorded. */
  open(session: S, progress: Progress, signal: AbortSignal): Solve<S> {
    return new Solve(this, session, progress, signal);
  }
}
