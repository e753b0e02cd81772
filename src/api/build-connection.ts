import { InroError, invalid } from "../base/errors.ts";
import { Incoming } from "../base/incoming.ts";
import { BUILD_FRAME, type BuildAsk, type Frame, FrameReader, frame } from "../spec/build-stream.ts";
import type { AgentChannel } from "./build-agents.ts";

type AskOf<K extends BuildAsk["ask"]> = Omit<Extract<BuildAsk, { ask: K }>, "id">;
type AnyAsk = { [K in BuildAsk["ask"]]: AskOf<K> }[BuildAsk["ask"]];

/** Bytes that wait for a slow reader before the other side is made to wait. */
const MOST_HELD = 4 << 20;
const PARTING_MS = 2000;
const MAX_LISTING = 1 << 30;

/** The engine's side of a build's connection: frames out, streams in by number. */
export class BuildConnection {
  readonly #reader = new FrameReader();
  readonly #out: Uint8Array[] = [];
  #outSize = 0;
  #wake = () => {};
  #waiting: (() => void)[] = [];
  #ended = false;
  #next = 1;
  readonly #streams = new Map<number, Incoming>();
  readonly #listings = new Map<
    number,
    { promise: Promise<string>; resolve(text: string): void; parts: string[]; size: number }
  >();
  readonly #gone = new AbortController();
  readonly #left = Promise.withResolvers<void>();

  /** Aborts when the client has left. */
  get signal(): AbortSignal {
    return this.#gone.signal;
  }

  async *output(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const next = this.#out.shift();
      if (next) {
        this.#outSize -= next.length;
        if (this.#outSize < MOST_HELD) this.#drained();
        yield next;
      } else if (this.#ended) {
        // What the client is still sending is taken: closing now could cost it our last words.
        await Promise.race([this.#left.promise, new Promise((resolve) => setTimeout(resolve, PARTING_MS).unref())]);
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  /** The client sends no more. */
  endInput(): void {
    this.#left.resolve();
  }

  /** Takes what the client sends; resolves when more may come. */
  async input(data: Uint8Array): Promise<void> {
    for (const one of this.#reader.push(data)) await this.#take(one);
  }

  close(): void {
    this.#gone.abort(new Error("the client is gone"));
    for (const stream of this.#streams.values()) stream.fail(new Error("the client is gone"));
    this.#streams.clear();
    this.#drained();
    this.#left.resolve();
  }

  send(type: number, value: unknown, id = 0): void {
    this.#push(frame(type, id, JSON.stringify(value)));
  }

  /** Nothing more is sent. */
  end(): void {
    this.#ended = true;
    this.#wake();
  }

  /** A context's listing, once it is here. */
  listing(number: number): Promise<string> {
    return this.#listing(number).promise;
  }

  /** Bytes that the client answers with. Rejects with what it says. */
  ask(ask: AnyAsk): AsyncGenerator<Uint8Array> {
    const id = this.#next++;
    const stream = this.#stream(id);
    this.send(BUILD_FRAME.ask, { id, ...ask }, id);
    return stream.read(() => this.#streams.delete(id));
  }

  /** A stream that the client sends without being asked. */
  unasked(): AsyncGenerator<Uint8Array> {
    return this.#stream(0).read(() => this.#streams.delete(0));
  }

  /** Sends an output, and waits for the client's word that it has it. */
  async give(ask: AskOf<"output"> | AskOf<"cache">, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const id = this.#next++;
    const answer = this.#stream(id);
    this.send(BUILD_FRAME.ask, { id, ...ask }, id);
    for await (const chunk of bytes) {
      this.#push(frame(BUILD_FRAME.data, id, chunk));
      await this.#room();
    }
    this.#push(frame(BUILD_FRAME.end, id));
    for await (const _ of answer.read(() => this.#streams.delete(id)));
  }

  /** A connection both ways, such as to an agent. */
  channel(ask: AskOf<"agent">): AgentChannel {
    const id = this.#next++;
    const stream = this.#stream(id);
    this.send(BUILD_FRAME.ask, { id, ...ask }, id);
    return {
      read: stream.read(() => this.#streams.delete(id)),
      write: async (data) => {
        this.#push(frame(BUILD_FRAME.data, id, data));
        await this.#room();
      },
      end: () => this.#push(frame(BUILD_FRAME.end, id)),
      cancel: () => stream.fail(new Error("the step has closed its connection")),
    };
  }

  /** Resolves when what is to go out is not too much. Rejects when the client is gone. */
  async #room(): Promise<void> {
    if (this.#outSize >= MOST_HELD) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#gone.signal.throwIfAborted();
  }

  #drained(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  async #take({ type, id, payload }: Frame): Promise<void> {
    if (type === BUILD_FRAME.listing) {
      const listing = this.#listing(id);
      if (payload.length === 0) {
        listing.resolve(listing.parts.join(""));
        return;
      }
      listing.size += payload.length;
      if (listing.size > MAX_LISTING) throw invalid("the listing of the build context is too long");
      listing.parts.push(new TextDecoder().decode(payload));
      return;
    }
    // What nobody reads any more is dropped.
    const stream = id === 0 ? this.#stream(0) : this.#streams.get(id);
    if (type === BUILD_FRAME.data) await stream?.push(payload);
    else if (type === BUILD_FRAME.end) stream?.end();
    else if (type === BUILD_FRAME.refuse) {
      stream?.fail(new InroError("notFound", new TextDecoder().decode(payload).slice(0, 4096)));
    } else throw invalid(`unknown frame ${type}`);
  }

  #listing(number: number) {
    let listing = this.#listings.get(number);
    if (!listing) {
      listing = { ...Promise.withResolvers<string>(), parts: [], size: 0 };
      this.#listings.set(number, listing);
      const { promise } = listing;
      promise.catch(() => {});
    }
    return listing;
  }

  #stream(id: number): Incoming {
    let stream = this.#streams.get(id);
    if (!stream) {
      stream = new Incoming();
      this.#streams.set(id, stream);
    }
    return stream;
  }

  #push(bytes: Uint8Array): void {
    this.#out.push(bytes);
    this.#outSize += bytes.length;
    this.#wake();
  }
}
