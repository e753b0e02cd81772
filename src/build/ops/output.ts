import { trySys } from "../../linux/call.ts";
import { addressOf } from "../../linux/ffi.ts";
import { readiness } from "../../linux/readiness.ts";

const CHUNK = 64 * 1024;
const EAGAIN = -11;
const EINTR = -4;

/**
 * Reads a descriptor (O_NONBLOCK, the caller's) to its end. `sink` gets copies. Whoever floods has its turns: the event
 * loop runs between two chunks.
 */
export async function readOutput(fd: number, sink: (bytes: Uint8Array) => void): Promise<void> {
  const buffer = new Uint8Array(CHUNK);
  for (;;) {
    const length = trySys("read", fd, addressOf(buffer), CHUNK);
    if (length > 0) {
      sink(buffer.slice(0, length));
      if (length === CHUNK) await new Promise((resolve) => setImmediate(resolve));
    } else if (length === EAGAIN) await new Promise<void>((resolve) => readiness.wait(fd, resolve));
    else if (length !== EINTR) return;
  }
}
