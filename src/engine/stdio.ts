import { DetachKeys, parseDetachKeys } from "./detach-keys.ts";
import type { ContainerLog } from "./log/container-log.ts";
import { readLogs, unframed } from "./log/logs.ts";
import { LogReader } from "./log/reader.ts";
import { OutputReader } from "./output-reader.ts";
import type { Attachment, AttachOptions, OutputChunk, StreamId } from "./requests.ts";
import { StdinWriter } from "./stdin.ts";
import { Subscriber } from "./subscriber.ts";

/** The engine's ends of a process's stdio; `runtime/` gives them as part of a running process. */
export interface StdioEnds {
  readonly stdin?: number | undefined;
  readonly stdout?: number | undefined;
  readonly stderr?: number | undefined;
  readonly pty?: number | undefined;
  closeStdin(): void;
}

export interface StdioOptions {
  tty: boolean;
  /** The first client that ends its input closes the process's stdin. */
  stdinOnce: boolean;
  log?: ContainerLog | undefined;
  /** The log could not be written (a full disk); told once a run. The process and its clients go on without it. */
  onLogError?: (error: unknown) => void;
  /** A client detached by its keys. */
  onDetach?: () => void;
}

/**
 * A process's stdio between its clients, its log and its pipes. It exists before the process does, so that clients can
 * attach first, and outlives it into the next run. Output goes to the log first, then to every client; the slowest
 * client sets the pace.
 */
export class Stdio {
  readonly #subscribers = new Set<{ subscriber: Subscriber; streams: Set<StreamId> }>();
  #readers: OutputReader[] = [];
  #stdin: StdinWriter | undefined;
  #stdinWaiters = new Set<() => void>();
  #ending = false;
  #logFailed = false;

  constructor(private readonly options: StdioOptions) {}

  /** How many clients are attached. */
  get clients(): number {
    return this.#subscribers.size;
  }

  /**
   * A process runs: reads its output from now on, and lets waiting input through. The ends stay the caller's. With
   * `adopted` an earlier engine has read the output so far.
   */
  connect(ends: StdioEnds, adopted = false): void {
    this.#logged((log) => log.begin(adopted));
    this.#ending = false;
    this.#logFailed = false;
    const read = (fd: number | undefined, stream: StreamId) => {
      if (fd === undefined) return;
      const sink = (data: Uint8Array) => this.#deliver({ stream, data });
      this.#readers.push(new OutputReader(fd, sink, () => this.#logged((log) => log.taken())));
    };
    if (ends.pty !== undefined) {
      read(ends.pty, 1);
      this.#stdin = new StdinWriter(ends.pty);
    } else {
      read(ends.stdout, 1);
      read(ends.stderr, 2);
      if (ends.stdin !== undefined) this.#stdin = new StdinWriter(ends.stdin, () => ends.closeStdin());
    }
    for (const waiter of this.#stdinWaiters) waiter();
    this.#stdinWaiters.clear();
  }

  /** The process has ended: resolves when all its output is in the log and with the clients, whose streams end. */
  async finish(): Promise<void> {
    this.#stdin?.destroy();
    // What is left fits the pipes, so no client needs to be waited for any more.
    this.#ending = true;
    for (const { subscriber } of this.#subscribers) subscriber.makeRoom();
    await Promise.all(this.#readers.map((reader) => reader.drain()));
    this.#readers = [];
    this.#stdin = undefined;
    await this.#logged((log) => log.end());
    this.endClients();
  }

  /** Tells the clients, on stdout, why there will be no output, and ends their streams. */
  refuse(reason: string): void {
    const chunk: OutputChunk = { stream: 1, data: Buffer.from(`${reason}\r\n`) };
    for (const { subscriber, streams } of this.#subscribers) if (streams.has(1)) subscriber.push(chunk);
    this.endClients();
  }

  /** Ends the clients' streams; also when a start failed. */
  endClients(error?: unknown): void {
    for (const { subscriber } of this.#subscribers) subscriber.end(error);
    this.#subscribers.clear();
    for (const waiter of this.#stdinWaiters) waiter();
    this.#stdinWaiters.clear();
  }

  /** The engine leaves, the process stays: stops reading. */
  async disconnect(): Promise<void> {
    // What was read ahead is for the log: no client is waited for.
    this.#ending = true;
    for (const { subscriber } of this.#subscribers) subscriber.makeRoom();
    await Promise.all(this.#readers.map((reader) => reader.stop()));
    this.#readers = [];
    this.#stdin?.destroy();
    // With a line that is not finished: nobody else has it.
    await this.#logged((log) => log.end());
    this.endClients();
  }

  #deliver({ stream, data }: OutputChunk): Promise<void> | undefined {
    let wait: Promise<unknown> | undefined = this.#logged((log) => log.write(stream, data));
    if (this.#ending) wait = undefined;
    let chunk: OutputChunk | undefined;
    for (const { subscriber, streams } of this.#subscribers) {
      if (!streams.has(stream)) continue;
      // The reader will use its buffer again.
      chunk ??= { stream, data: data.slice() };
      const room = subscriber.push(chunk);
      if (room && !this.#ending) wait = wait ? Promise.all([wait, room]) : room;
    }
    return wait as Promise<void> | undefined;
  }

  #logged(step: (log: ContainerLog) => Promise<void> | undefined): Promise<void> | undefined {
    if (!this.options.log) return undefined;
    try {
      return step(this.options.log)?.catch((error) => this.#logError(error));
    } catch (error) {
      this.#logError(error);
      return undefined;
    }
  }

  #logError(error: unknown): void {
    if (!this.#logFailed) this.options.onLogError?.(error);
    this.#logFailed = true;
  }

  attach(options: AttachOptions): Attachment {
    const tty = this.options.tty;
    const streams = new Set<StreamId>();
    if (options.stdout) streams.add(1);
    if (options.stderr) streams.add(2);
    const keys = new DetachKeys(parseDetachKeys(tty ? options.detachKeys : ""));
    let close: () => void = () => undefined;
    const closed = new Promise<undefined>((resolve) => {
      close = () => resolve(undefined);
    });
    const entry = {
      streams,
      subscriber: new Subscriber(() => {
        this.#subscribers.delete(entry);
        close();
      }),
    };
    const { subscriber } = entry;
    // Log and queue meet here, in one synchronous step: nothing is lost or shown twice.
    const replay = options.logs ? this.#replay(options) : undefined;
    if (options.stream !== false) this.#subscribers.add(entry);
    else subscriber.end();

    const stdin = () => Promise.race([this.#running(), closed]);
    return {
      tty,
      output: replay ? concatenate(replay, subscriber) : subscriber,
      write: async (data) => {
        if (!options.stdin || subscriber.closed) return;
        const typed = keys.filter(data);
        if (typed.data.length > 0) await (await stdin())?.write(typed.data);
        if (typed.detach && !subscriber.closed) {
          this.options.onDetach?.();
          subscriber.end();
          this.#subscribers.delete(entry);
        }
      },
      endInput: async () => {
        if (!options.stdin || !this.options.stdinOnce || tty) return;
        await (await stdin())?.end();
      },
      close: () => subscriber.close(),
    };
  }

  /** The process's stdin, once it runs; undefined if it will not take input. */
  #running(): Promise<StdinWriter | undefined> {
    if (this.#stdin || this.#readers.length > 0) return Promise.resolve(this.#stdin);
    return new Promise((resolve) => this.#stdinWaiters.add(() => resolve(this.#stdin)));
  }

  #replay(options: AttachOptions): AsyncIterable<OutputChunk> | undefined {
    const { log } = this.options;
    if (!log?.file) return undefined;
    const unfinished: OutputChunk[] = log.pending();
    const streams = { stdout: options.stdout === true, stderr: options.stderr === true };
    const lines = unframed(readLogs(new LogReader(log.file), streams, true));
    const rest = unfinished.filter(({ stream }) => (stream === 1 ? options.stdout : options.stderr));
    return concatenate(lines, rest);
  }
}

async function* concatenate(
  first: AsyncIterable<OutputChunk>,
  second: AsyncIterable<OutputChunk> | Iterable<OutputChunk>,
): AsyncGenerator<OutputChunk> {
  try {
    yield* first;
    yield* second;
  } finally {
    // Whoever leaves during the first part is done with the second too.
    if (second instanceof Subscriber) second.close();
  }
}
