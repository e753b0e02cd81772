/** True when the descriptor is a terminal. */
export function isTerminal(fd: 0 | 1 | 2): boolean {
  try {
    const stat = (require("node:fs") as typeof import("node:fs")).fstatSync(fd);
    // Loading node:tty costs 12 ms; what is no character device, or is /dev/null and its kin (major 1), is none.
    if (!stat.isCharacterDevice() || stat.rdev >> 8 === 1) return false;
  } catch {
    return false;
  }
  return (require("node:tty") as typeof import("node:tty")).isatty(fd);
}

/** Size of the terminal on stdout, if it is one. */
export function terminalSize(): { h: number; w: number } | undefined {
  // The cached numbers change only after the listeners of SIGWINCH have run.
  (process.stdout as { _refreshSize?(): void })._refreshSize?.();
  const { rows, columns } = process.stdout;
  return rows && columns ? { h: rows, w: columns } : undefined;
}

/** Calls `changed` at each change of the terminal's size until the result is called. */
export function watchSize(changed: () => void): () => void {
  process.on("SIGWINCH", changed);
  return () => void process.off("SIGWINCH", changed);
}

/** Puts stdin into raw mode. The result restores it; so does the end of the process, however it comes. */
export function rawMode(): () => void {
  process.stdin.setRawMode(true);
  // It leaves the output's processing on, and the container's terminal has done that already: \r\n would be \r\r\n.
  (require("../linux/terminal.ts") as typeof import("../linux/terminal.ts")).rawOutput(0);
  const restore = () => {
    process.off("exit", restore);
    try {
      process.stdin.setRawMode(false);
    } catch {
      // The terminal is gone.
    }
  };
  process.on("exit", restore);
  return restore;
}

/** Chunks of stdin. A terminal is read through process.stdin, which keeps raw mode; anything else on the event loop. */
export async function* readStdin(terminal: boolean): AsyncGenerator<Uint8Array> {
  if (!terminal) {
    yield* Bun.stdin.stream() as unknown as AsyncIterable<Uint8Array>;
    return;
  }
  const queue: Uint8Array[] = [];
  let done = false;
  let wake = () => {};
  const onData = (chunk: Buffer) => {
    queue.push(chunk);
    wake();
  };
  const onEnd = () => {
    done = true;
    wake();
  };
  process.stdin.on("data", onData).on("end", onEnd).on("close", onEnd).on("error", onEnd);
  try {
    for (;;) {
      const chunk = queue.shift();
      if (chunk) yield chunk;
      else if (done) return;
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    process.stdin.off("data", onData).off("end", onEnd).off("close", onEnd).off("error", onEnd);
    process.stdin.pause();
  }
}
