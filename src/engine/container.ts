import type { Cgroup } from "../cgroups/cgroup.ts";
import type { Running } from "../runtime/running.ts";
import type { Spec } from "../spec/oci-runtime.ts";
import { ZERO_TIME } from "./clock.ts";
import type { Copies } from "./copies.ts";
import { type ContainerLog, type LogPlace, openLog } from "./log/container-log.ts";
import { Mutex } from "./mutex.ts";
import { Stdio } from "./stdio.ts";
import type { ContainerRecord, StateRecord } from "./store.ts";

/**
 * A container in memory: its records as they are in the store, and what only a running engine has of it. Changing
 * `state` and writing it to the store is start.ts's, exit.ts's and remove.ts's business.
 */
export class Container {
  /** Serialises what changes the container. */
  readonly mutex = new Mutex();
  /** Undefined with the driver `none`. */
  readonly log: ContainerLog | undefined;
  readonly stdio: Stdio;
  /** The process while there is one. */
  running: Running | undefined;
  /** Of the present run, if this engine made it. */
  cgroup: Cgroup | undefined;
  /** What it was started with. */
  spec: Spec | undefined;
  /** The end of the present or last run: settled when the container has ended and is cleaned up. */
  finished: Promise<void> = Promise.resolve();
  /** Between the end of its process and the end of its clean-up. */
  ending = false;
  /** Whether it was removed: the object is of no more use. */
  removed = false;
  /** Wake when a run ends, or was not to be. */
  readonly exitWaiters = new Set<() => void>();
  readonly removalWaiters = new Set<() => void>();
  /** Made with the first one. */
  copies: Copies | undefined;
  /** Ids of its exec instances. */
  readonly execs = new Set<string>();
  /** Execs that run, those of an earlier engine too. */
  activeExecs = 0;
  #used = false;

  constructor(
    public record: ContainerRecord,
    public state: StateRecord,
    logs: LogPlace,
    onDetach: () => void,
  ) {
    const { config } = record;
    this.log = openLog(() => this.record, logs);
    this.stdio = new Stdio({
      tty: config.Tty ?? false,
      stdinOnce: config.StdinOnce ?? false,
      log: this.log,
      onDetach,
      onLogError: logs.onError,
    });
  }

  get id(): string {
    return this.record.id;
  }

  /** It has a process. */
  get isRunning(): boolean {
    return this.state.status === "running" || this.state.status === "paused";
  }

  /** What the API calls running: also one that waits for its restart. */
  get isUp(): boolean {
    const { status, restarts } = this.state;
    return this.isRunning || status === "restarting" || (status === "starting" && restarts?.due !== undefined);
  }

  /** Whether a promise about it must outlive the machine: it does not itself if it is removed at its end. */
  get durable(): boolean {
    return !this.record.host.AutoRemove;
  }

  /** A client has come or gone: it attaches, or an exec of its begins or ends. */
  use(): void {
    this.#used = true;
  }

  /** Whether a client is there, or was since this was asked last. */
  takeUse(): boolean {
    const used = this.#used || this.activeExecs > 0 || this.stdio.clients > 0;
    this.#used = false;
    return used;
  }

  wake(waiters: Set<() => void>): void {
    const all = [...waiters];
    waiters.clear();
    for (const waiter of all) waiter();
  }
}

export function newState(): StateRecord {
  return {
    status: "created",
    pid: 0,
    exitCode: 0,
    error: "",
    oomKilled: false,
    startedAt: ZERO_TIME,
    finishedAt: ZERO_TIME,
    bootId: "",
  };
}
