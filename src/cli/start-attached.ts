import { ApiError, isStatus } from "../client/api-error.ts";
import type { Engine } from "../client/engine.ts";
import { errorText } from "./error-text.ts";
import { stderr } from "./output.ts";
import { carryStreams, type SessionOptions } from "./session.ts";
import { catchSignals, endingSignal } from "./signals.ts";
import { terminalSize, watchSize } from "./terminal.ts";

export interface AttachedOptions extends SessionOptions {
  id: string;
  stdout: boolean;
  stderr: boolean;
  sigProxy: boolean;
  /** The container removes itself: its status is known when it is gone. */
  autoRemove: boolean;
  /** Start it; otherwise it runs already. */
  start: boolean;
}

/** A start that failed; its status is docker's 125, 126 or 127. */
export class StartError extends Error {
  constructor(
    message: string,
    readonly exitCode: number,
  ) {
    super(message);
  }
}

/**
 * Attaches to a container, starts it, carries its streams and gives its exit status. The attachment and the wait stand
 * before the start, so that no output and no exit is missed. Gives 0 when the user detaches.
 */
export async function runAttached(engine: Engine, options: AttachedOptions): Promise<number> {
  const { id, tty } = options;
  const attached = options.stdin || options.stdout || options.stderr;
  const condition = options.autoRemove ? "removed" : options.start ? "next-exit" : "not-running";
  // Both stand before the start; together they cost one round trip.
  const [connection, waiting] = await Promise.all([
    attached
      ? engine.attachContainer(id, {
          stdin: options.stdin,
          stdout: options.stdout,
          stderr: options.stderr,
          detachKeys: options.detachKeys || undefined,
        })
      : undefined,
    engine.waitContainer(id, condition),
  ]);

  const stops: (() => void)[] = [];
  const forward = options.sigProxy && !tty;
  if (forward) stops.push(catchSignals((signal) => void engine.killContainer(id, signal).catch(() => {})));
  const ending = forward ? undefined : endingSignal();
  if (ending) stops.push(ending.stop);
  try {
    const session = connection ? carryStreams(connection, options) : undefined;
    session?.catch(() => {});
    if (options.start) await start(engine, id, options.detachKeys);
    if (tty) stops.push(followSize((size) => engine.resizeContainer(id, size)));

    const interrupted = ending?.status.then((status) => ({ status }));
    const outcome = await Promise.race([
      session ?? waiting.result.then(() => "ended" as const),
      ...(interrupted ? [interrupted] : []),
    ]);
    if (typeof outcome === "object") return outcome.status;
    if (outcome === "detached") {
      await stderr.write("read escape sequence\r\n");
      return 0;
    }
    const result = await waiting.result;
    if (result.Error?.Message) throw new StartError(result.Error.Message, 125);
    return result.StatusCode;
  } finally {
    for (const stop of stops) stop();
    connection?.close();
  }
}

async function start(engine: Engine, id: string, detachKeys: string | undefined): Promise<void> {
  try {
    await engine.startContainer(id, { detachKeys: detachKeys || undefined });
  } catch (error) {
    throw await startError(engine, id, error);
  }
}

/** Gives a failed start docker's exit status: by the text, else by the state that the engine recorded. */
export async function startError(engine: Engine, id: string, error: unknown): Promise<Error> {
  if (!(error instanceof ApiError)) return error as Error;
  const text = errorText(error);
  if (/executable file not found|no such file or directory|execve .*: (ENOENT|ENOTDIR) /i.test(error.message)) {
    return new StartError(text, 127);
  }
  if (/permission denied|is a directory|execve .*: (EACCES|ENOEXEC) |exec format error/i.test(error.message)) {
    return new StartError(text, 126);
  }
  const code = isStatus(error, 400)
    ? await engine.inspectContainer(id).then(
        (container) => container.State.ExitCode,
        () => 0,
      )
    : 0;
  return new StartError(text, code === 126 || code === 127 ? code : 125);
}

/** Tells the engine the terminal's size now and at each change. */
export function followSize(resize: (size: { h: number; w: number }) => Promise<unknown>): () => void {
  const send = () => {
    const size = terminalSize();
    if (size) resize(size).catch(() => {});
  };
  send();
  return watchSize(send);
}
