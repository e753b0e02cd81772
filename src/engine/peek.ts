import { trySys } from "../linux/call.ts";
import { addressOf } from "../linux/ffi.ts";
import { pipe } from "../linux/process.ts";

/** splice(2). */
const SPLICE_F_NONBLOCK = 2;
const SIZE = 64 * 1024;

/** A pipe of ours that copies pass through. It is empty between calls. */
let copy: [read: number, write: number] | undefined;
const buffer = new Uint8Array(SIZE);

/** Up to 64 KiB that wait in a pipe, which keeps them: tee(2). Empty for an empty or ended one, and for what is no pipe. */
export function peek(fd: number): Uint8Array {
  copy ??= pipe();
  const length = trySys("tee", fd, copy[1], SIZE, SPLICE_F_NONBLOCK);
  if (length <= 0) return new Uint8Array(0);
  const n = trySys("read", copy[0], addressOf(buffer), length);
  return buffer.slice(0, Math.max(n, 0));
}

/** Takes `length` bytes that are there out of a pipe. */
export function skip(fd: number, length: number): void {
  for (let done = 0; done < length; ) {
    const n = trySys("read", fd, addressOf(buffer), Math.min(length - done, SIZE));
    if (n <= 0) return;
    done += n;
  }
}
