import { closeSync, constants, fstatSync, openSync } from "node:fs";
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
  return { read, write, nowhere: openNull() };
}

/** -1 where /dev/null is not what it should be: what is dropped must not go into a file. */
function openNull(): number {
  try {
    const fd = openSync("/dev/null", constants.O_WRONLY);
    if (fstatSync(fd).isCharacterDevice()) return fd;
    closeSync(fd);
  } catch {
    // Below.
  }
  return -1;
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

/** Takes the first `length` bytes of `buffer`, which are there, out of a pipe too. */
export function drop(fd: number, buffer: Uint8Array, length: number): void {
  const { nowhere } = copy!;
  for (let done = 0; done < length; ) {
    const left = length - done;
    const n =
      nowhere < 0
        ? trySys("read", fd, addressOf(buffer), left)
        : trySys("splice", fd, 0, nowhere, 0, left, SPLICE_F_NONBLOCK);
    if (n <= 0) return;
    done += n;
  }
}
