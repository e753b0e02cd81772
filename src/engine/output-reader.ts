import { trySys } from "../linux/call.ts";
import { addressOf } from "../linux/ffi.ts";
import { readable } from "../linux/poll.ts";
import { readiness } from "../linux/readiness.ts";
import { drop, peek } from "./peek.ts";

/** Read at once: what becomes of it must not hold the event loop up. */
const CHUNK = 128 * 1024;
/** Who writes so much at once has more to say: it is left to gather in the pipe for so long, in ms. */
const FLOW = 32 * 1024;
const GATHER = 1;
const EAGAIN = -11;
const EINVAL = -22;

/** Looks at an empty terminal, some 2 ms apart. */
const QUIET_LOOKS = 10;

/** What is read, of whoever reads: the sink is done with it when it returns. */
const buffer = new Uint8Array(CHUNK);

/**
 * Reads one of the engine's pipe or pty ends until it ends. What is in a pipe stays there until `sink` returns, so that
 * an engine that is killed meanwhile has lost nothing; the next is read when the promise that it may return is resolved,
 * so a slow sink fills the pipe and holds the writer back. The descriptor stays the caller's.
 */
export class OutputReader {
  #ended = false;
  #stopped = false;
  #taking: Promise<void> | undefined;
  #forget: (() => void) | undefined;
  #isPipe = true;
  /** Bytes taken since it last waited. */
  #flow = 0;

  /** The bytes that `sink` gets are valid until it returns. What is there already goes through it here and now. */
  constructor(
    private readonly fd: number,
    private readonly sink: (data: Uint8Array) => Promise<void> | undefined,
    /** What the sink got last has left the pipe. */
    private readonly taken: () => void = () => {},
  ) {
    this.#start();
  }

  #start(): void {
    this.#forget = undefined;
    this.#flow = 0;
    this.#taking = this.#take().finally(() => {
      this.#taking = undefined;
      if (!this.#ended && !this.#stopped) this.#forget = this.#wait();
    });
  }

  /** Until there is something; the result forgets it. */
  #wait(): () => void {
    if (this.#flow < FLOW) return readiness.wait(this.fd, () => this.#start());
    const timer = setTimeout(() => this.#start(), GATHER);
    return () => clearTimeout(timer);
  }

  /** Takes what is there. */
  async #take(): Promise<void> {
    while (!this.#stopped) {
      const length = this.#peek();
      if (length <= 0) {
        this.#ended ||= length < 0;
        return;
      }
      this.#flow += length;
      const wait = this.sink(buffer.subarray(0, length));
      // The same bytes once more; a pipe has one reader.
      if (this.#isPipe) drop(this.fd, buffer, length);
      this.taken();
      if (wait) await wait;
      // Others have their turn.
      else if (length === CHUNK) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** How many bytes are in the buffer: 0 when there are none at present, -1 at the end. */
  #peek(): number {
    if (this.#isPipe) {
      const length = peek(this.fd, buffer);
      if (length !== EINVAL) return length > 0 ? length : length === EAGAIN ? 0 : -1;
      this.#isPipe = false;
    }
    // A pty ends with EIO when the last process has closed it.
    const length = trySys("read", this.fd, addressOf(buffer), CHUNK);
    return length > 0 ? length : length === EAGAIN ? 0 : -1;
  }

  /**
   * After the process ended: resolves when everything that it wrote has gone through the sink. As a rule that is the end
   * of file. Others may hold the other end for longer (a daemon it left behind): then an empty pipe is enough. A terminal
   * may have bytes on their way from one end to the other.
   */
  async drain(): Promise<void> {
    for (let quiet = 0; !this.#ended; ) {
      await this.#takeAll();
      if (this.#ended || this.#isPipe || ++quiet > QUIET_LOOKS) break;
      await new Promise((resolve) => (quiet === 1 ? setImmediate(resolve) : setTimeout(resolve, 2)));
      if (readable(this.fd)) quiet = 0;
    }
    await this.stop();
  }

  async #takeAll(): Promise<void> {
    if (this.#taking) await this.#taking;
    this.#forget?.();
    if (!this.#ended) this.#start();
    await this.#taking;
  }

  /** Stops reading; what is in the pipe stays there. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#forget?.();
    await this.#taking;
  }
}
