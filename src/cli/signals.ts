/**
 * Signals that are passed on to the process. Not in the list: what cannot be caught, what says something about this
 * process itself (SIGCHLD, SIGPIPE, SIGURG, faults, SIGTTIN, SIGTTOU) and what the JavaScript engine uses (SIGPWR).
 */
const FORWARDED = [
  ...["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2"],
  ...["SIGALRM", "SIGVTALRM", "SIGCONT", "SIGTSTP", "SIGWINCH", "SIGIO"],
] as const;

/** Gives every caught signal's name to `forward` until the result is called. */
function catchSignals(forward: (signal: string) => void): () => void {
  const handlers = FORWARDED.map((signal) => {
    const handler = () => forward(signal);
    process.on(signal, handler);
    return [signal, handler] as const;
  });
  return () => {
    for (const [signal, handler] of handlers) process.off(signal, handler);
  };
}

/**
 * Does `work` while signals go to `forward`; without it one that ends the command gives its status, 128 + n, at once.
 */
export async function withSignals(
  forward: ((signal: string) => void) | undefined,
  work: () => Promise<number>,
): Promise<number> {
  if (!forward) {
    const ending = endingSignal();
    return await Promise.race([work(), ending.status]).finally(ending.stop);
  }
  return await work().finally(catchSignals(forward));
}

const ENDING = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGTERM: 15 } as const;

/**
 * Resolves with 128 + n at a signal that ends the command; the caller leaves in good order. `stop` ends the watch.
 */
export function endingSignal(): { status: Promise<number>; stop(): void } {
  let resolve: (status: number) => void = () => {};
  const status = new Promise<number>((done) => {
    resolve = done;
  });
  const handlers = (Object.keys(ENDING) as (keyof typeof ENDING)[]).map((signal) => {
    const handler = () => resolve(128 + ENDING[signal]);
    process.on(signal, handler);
    return [signal, handler] as const;
  });
  return {
    status,
    stop: () => {
      for (const [signal, handler] of handlers) process.off(signal, handler);
    },
  };
}
