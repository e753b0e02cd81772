import { ApiError, isStatus } from "../client/api-error.ts";
import type { Engine } from "../client/engine.ts";
import { RunStream } from "../client/run-stream.ts";
import type { Hijacked } from "../client/transport.ts";
import type { WaitResponse } from "../spec/docker-api.ts";
import { StartError } from "./command.ts";
import { errorText } from "./error-text.ts";
import { stderr } from "./output.ts";
import { carryStreams, type SessionOptions } from "./session.ts";
import { withSignals } from "./signals.ts";
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
  /** The command's status after the detach keys. */
  detached: number;
}

/**
 * Attaches to a container, starts it, carries its streams and gives its exit status. The attachment and the wait stand
 * before the start, so that no output and no exit is missed.
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

  let unfollow: (() => void) | undefined;
  const forward = (signal: string) => void engine.killContainer(id, signal).catch(() => {});
  return await withSignals(options.sigProxy && !tty ? forward : undefined, async () => {
    const session = connection ? carryStreams(connection, options) : undefined;
    session?.catch(() => {});
    if (options.start) await start(engine, id, options.detachKeys);
    if (tty) unfollow = followSize((size) => engine.resizeContainer(id, size));
    const outcome = await (session ?? waiting.result);
    if (outcome === "detached") return await sayDetached(options.detached);
    return statusOf(await waiting.result);
  }).finally(() => {
    unfollow?.();
    connection?.close();
  });
}

/** Carries the streams of {@link Engine.runContainer} and gives the container's exit status, or 0 after a detach. */
export async function runStarted(
  engine: Engine,
  connection: Hijacked,
  options: SessionOptions & { sigProxy: boolean },
): Promise<number> {
  const { tty } = options;
  let id: string | undefined;
  let unfollow: (() => void) | undefined;
  const early: string[] = [];
  const kill = (signal: string) => {
    if (id === undefined) early.push(signal);
    else engine.killContainer(id, signal).catch(() => {});
  };
  const stream = new RunStream((created) => {
    for (const warning of created.Warnings ?? []) void stderr.line(`WARNING: ${warning}`).catch(() => {});
    id = created.Id;
    early.splice(0).forEach(kill);
    if (tty) unfollow = followSize((size) => engine.resizeContainer(created.Id, size));
  });
  return await withSignals(options.sigProxy && !tty ? kill : undefined, async () => {
    if ((await carryStreams(connection, { ...options, demultiplexer: stream })) === "detached")
      return await sayDetached(0);
    const { failed, exited } = stream;
    if (failed) throw new StartError(errorText(new ApiError(500, failed.message)), failed.exitCode);
    if (!exited) throw new Error("the connection to the engine broke off before the container's end");
    return statusOf(exited);
  }).finally(() => {
    unfollow?.();
    connection.close();
  });
}

async function sayDetached(status: number): Promise<number> {
  await stderr.write("read escape sequence\r\n");
  return status;
}

function statusOf(result: WaitResponse): number {
  if (result.Error?.Message) throw new StartError(result.Error.Message, 125);
  return result.StatusCode;
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
