import { sys, trySys } from "./call.ts";
import { addressOf, room, scratch } from "./ffi.ts";
import { POLLIN, poll } from "./poll.ts";

/** io_submit(2). */
const IOCB_CMD_POLL = 5;
const IOCB_FLAG_RESFD = 1;
const IOCB_SIZE = 64;
const EVENT_SIZE = 32;
const EVENTS = 64;
/** How many are waited for at once; the machine has 65,536 (fs.aio-max-nr). */
const MOST = 4096;
const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2000000;
/** How often those are looked at that the kernel cannot tell of, in ms. */
const LOOK = 5;

/**
 * Tells when descriptors can be read, and leaves what is there where it is: unlike Bun's own streams, which take it out
 * at once. Asynchronous polls (IOCB_CMD_POLL) count up an eventfd when they complete, and that is a descriptor that Bun
 * waits for. Where the kernel has none, or no more of them, a timer looks.
 */
export class Readiness {
  #context: bigint | undefined;
  #eventfd = -1;
  /** One iocb for each wait: the kernel knows a poll by its address. */
  readonly #iocbs: Buffer;
  readonly #pointer = Buffer.alloc(8);
  readonly #events = Buffer.alloc(EVENTS * EVENT_SIZE);
  readonly #waiting = new Map<number, () => void>();
  readonly #free: number[] = [];
  #used = 0;
  readonly #looked = new Map<object, { fd: number; ready: () => void }>();
  #timer: NodeJS.Timeout | undefined;

  /** `most`: asynchronous polls at once; 0 for none. */
  constructor(private readonly most = MOST) {
    this.#iocbs = Buffer.alloc(most * IOCB_SIZE);
  }

  /** Calls `ready` once, when `fd` can be read, its other end is closed, or it failed. The result forgets it. */
  wait(fd: number, ready: () => void): () => void {
    this.#context ??= this.#open();
    const slot = this.#context === 0n ? -1 : this.#submit(fd);
    if (slot < 0) return this.#look(fd, ready);
    this.#waiting.set(slot, ready);
    return () => this.#cancel(slot);
  }

  /** 0n where there are no asynchronous polls. */
  #open(): bigint {
    const context = scratch(() => {
      const { address, view } = room(8);
      return trySys("io_setup", this.most, address) < 0 ? 0n : view.readBigUInt64LE(0);
    });
    if (context !== 0n) {
      this.#eventfd = sys("eventfd2", "", 0, EFD_NONBLOCK | EFD_CLOEXEC);
      void this.#run(context);
    }
    return context;
  }

  #submit(fd: number): number {
    const slot = this.#free.pop() ?? (this.#used < this.most ? this.#used++ : -1);
    if (slot < 0) return -1;
    const iocb = this.#iocbs.subarray(slot * IOCB_SIZE, (slot + 1) * IOCB_SIZE);
    iocb.fill(0);
    iocb.writeUInt32LE(slot, 0);
    iocb.writeUInt16LE(IOCB_CMD_POLL, 16);
    iocb.writeInt32LE(fd, 20);
    iocb.writeUInt32LE(POLLIN, 24);
    iocb.writeUInt32LE(IOCB_FLAG_RESFD, 56);
    iocb.writeInt32LE(this.#eventfd, 60);
    this.#pointer.writeBigUInt64LE(BigInt(this.#address(slot)), 0);
    if (trySys("io_submit", this.#context!, 1, addressOf(this.#pointer)) === 1) return slot;
    this.#free.push(slot);
    return -1;
  }

  #address(slot: number): number {
    return addressOf(this.#iocbs) + slot * IOCB_SIZE;
  }

  #cancel(slot: number): void {
    if (!this.#waiting.has(slot)) return;
    this.#waiting.set(slot, () => {});
    // It completes then, which frees the slot.
    scratch(() => trySys("io_cancel", this.#context!, this.#address(slot), room(EVENT_SIZE).address));
  }

  async #run(context: bigint): Promise<void> {
    // Bun reads the counter whenever it is not 0.
    for await (const _ of Bun.file(this.#eventfd).stream()) this.#complete(context);
  }

  #complete(context: bigint): void {
    for (;;) {
      const n = scratch(() => trySys("io_getevents", context, 0, EVENTS, addressOf(this.#events), room(16).address));
      if (n <= 0) return;
      const ready: (() => void)[] = [];
      for (let i = 0; i < n; i++) {
        const slot = this.#events.readUInt32LE(i * EVENT_SIZE);
        ready.push(this.#waiting.get(slot)!);
        this.#waiting.delete(slot);
        this.#free.push(slot);
      }
      for (const call of ready) call();
      if (n < EVENTS) return;
    }
  }

  #look(fd: number, ready: () => void): () => void {
    const key = {};
    this.#looked.set(key, { fd, ready });
    this.#timer ??= setInterval(() => this.#lookAtAll(), LOOK);
    return () => this.#forget(key);
  }

  #lookAtAll(): void {
    const looked = [...this.#looked];
    const found = poll(
      looked.map(([, { fd }]) => [fd, POLLIN] as const),
      0,
    );
    looked.forEach(([key, { ready }], i) => {
      if (found[i] === 0 || !this.#forget(key)) return;
      ready();
    });
  }

  #forget(key: object): boolean {
    const known = this.#looked.delete(key);
    if (this.#looked.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    return known;
  }
}

/** The process's own. */
export const readiness = new Readiness();
