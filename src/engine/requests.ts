import type { WaitResponse } from "../spec/docker-api.ts";

/** What callers of the engine pass and get, apart from the objects of the Docker API themselves. */

/** 1 is stdout (or the terminal), 2 is stderr. */
export type StreamId = 1 | 2;

/** A piece of output. `data` belongs to the receiver and is never reused; pieces end anywhere, also inside a line. */
export interface OutputChunk {
  stream: StreamId;
  data: Uint8Array;
}

export interface AttachOptions {
  /** Replay what the log holds first. */
  logs?: boolean;
  /** Then follow the running process. Without it the output ends after the replay. */
  stream?: boolean;
  stdin?: boolean;
  stdout?: boolean;
  stderr?: boolean;
  /** Docker notation, such as `ctrl-p,ctrl-q` (the default for terminals). "" switches detaching off. */
  detachKeys?: string;
}

/**
 * A client's connection to a process. Whoever got it must {@link close} it when the client is gone; reading `output`
 * to its end is enough too. A client that reads slowly holds the process's output back, as in docker.
 */
export interface Attachment {
  /** Output is one raw terminal stream (every chunk has stream 1): send it without frames. */
  readonly tty: boolean;
  /** One reader only. Ends when the process ended and all its output was delivered, on detach, or after close(). */
  readonly output: AsyncIterable<OutputChunk>;
  /**
   * Bytes for stdin; resolves when the kernel has taken them (wait for it before reading on from the client). Input
   * that nobody can receive (not attached, stdin closed, process ended) is dropped quietly. Before the container is
   * started it waits.
   */
  write(data: Uint8Array): Promise<void>;
  /** The client half-closed: its input ends. Closes the process's stdin if the container has StdinOnce, or for exec. */
  endInput(): Promise<void>;
  /** The client is gone. Output is dropped from now on and nothing is held back. Idempotent. */
  close(): void;
}

export type WaitCondition = "not-running" | "next-exit" | "removed";

/** A registered wait: what happens after the call that made it is never missed. */
export interface Waiting {
  readonly result: Promise<WaitResponse>;
  /** Forgets it; `result` then never settles. Idempotent. */
  cancel(): void;
}

export interface LogOptions {
  stdout?: boolean;
  stderr?: boolean;
  follow?: boolean;
  timestamps?: boolean;
  details?: boolean;
  /** Docker's notation as it stands in the query: unix seconds with a fraction, or RFC 3339; "" and "0" are no bound. */
  since?: string;
  until?: string;
  /** Last n lines; "all" or absent is all. */
  tail?: string;
}

/** Log lines, with time and details where asked. */
export interface LogStream {
  readonly tty: boolean;
  /** One chunk each. One reader only; ends at the end of the log, or with `follow` when the container ended. */
  readonly output: AsyncIterable<OutputChunk>;
  /** The same as the Engine API sends it, many lines at once: framed, but for a terminal. Read this or `output`. */
  readonly wire: AsyncIterable<Uint8Array>;
  /** Stops following. Idempotent. */
  close(): void;
}

export interface ListOptions {
  all?: boolean;
  limit?: number;
  size?: boolean;
  filters?: Filters;
}

/** Docker's `filters` parameter, normalised by `parseFilters`: values of a key are alternatives, keys must all match. */
export type Filters = Map<string, string[]>;

/** Limits of what a container may be made of, for clients that have no right to everything (api/scope). */
export interface Bounds {
  /** Put on each volume that is made for it; a volume that is there must carry them. */
  labels: Record<string, string>;
  /** Clean absolute paths of the host: a bind's source is below one of them, at every start. */
  directories: readonly string[];
}

export interface RemoveOptions {
  force?: boolean;
  /** Also the anonymous volumes. */
  volumes?: boolean;
}

export interface StopOptions {
  /** Seconds until SIGKILL; -1 waits for ever. Default: the container's StopTimeout, else 10. */
  timeout?: number;
  /** Default: the container's StopSignal, else SIGTERM. */
  signal?: string;
}

export interface ExecStartOptions {
  Detach?: boolean;
  Tty?: boolean;
  /** Rows and columns. */
  ConsoleSize?: [number, number];
  detachKeys?: string;
}

/** What {@link Engine.check} found wrong. */
export interface Finding {
  kind:
    | "container"
    | "run-directory"
    | "container-directory"
    | "keeper"
    | "cgroup"
    | "mount"
    | "layer"
    | "blob"
    | "ingest"
    | "volume"
    | "temporary"
    | "interface"
    | "firewall"
    | "namespace";
  /** A path or an id. */
  object: string;
  problem: string;
  repaired: boolean;
}
