import { openSync } from "node:fs";
import { trySys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import { addressOf } from "../linux/ffi.ts";
import { pipe } from "../linux/process.ts";

/** splice(2). */
const SPLICE_F_NONBLOCK = 2;
const PIPE_SIZE = 1 << 20;

/** A pipe of ours that copies pass through, which costs no memory: they are the same pages. Empty between calls. */
let copy: { read: number; write: number; nowhere: number } | undefined;

function open(): { read: number; write: number; nowhere: number } {
  const [read, write] = pipe();
  // Where that is refused, a copy is smaller.
  trySys("fcntl", write, k.F_SETPIPE_SZ, PIPE_SIZE);
  const nowhere = openSync("/dev/null", "w");
  return { read, write, nowhere };
}

/**
 * Copies what waits in a pipe into `buffer`, and leaves it there: tee(2). The number of bytes; 0 at the end, -errno:
 * EAGAIN for an empty one, EINVAL for what is no pipe.
 */
export function peek(fd: number, buffer: Uint8Array): number {
  copy ??= open();
  const length = trySys("tee", fd, copy.write, buffer.length, SPLICE_F_NONBLOCK);
  if (length <= 0) return length;
  for (let done = 0; done < length; ) {
    const n = trySys("read", copy.read, addressOf(buffer) + done, length - done);
    if (n <= 0) throw new Error(`a copy of ${length} bytes of a pipe ended after ${done}`);
    done += n;
  }
  return length;
}

/** Takes `length` bytes that are there out of a pipe. */
export function drop(fd: number, length: number): void {
  for (let done = 0; done < length; ) {
    const n = trySys("splice", fd, 0, copy!.nowhere, 0, length - done, SPLICE_F_NONBLOCK);
    if (n <= 0) return;
    done += n;
  }
}
