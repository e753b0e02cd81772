import { Demultiplexer } from "../client/stdcopy.ts";
import type { Hijacked } from "../client/transport.ts";
import { DEFAULT_DETACH_KEYS, DetachFilter, parseDetachKeys } from "./detach-keys.ts";
import { stderr, stdout } from "./output.ts";
import { isTerminal, rawMode, readStdin } from "./terminal.ts";

export interface SessionOptions {
  /** The process has a terminal: its output is not framed. */
  tty: boolean;
  /** Send our stdin. */
  stdin: boolean;
  /** Print the output; false when only stdin is attached. */
  output?: boolean;
  /** Empty: the default keys. Looked for only with a tty. */
  detachKeys?: string;
  /** Takes the stream apart; the default is by `tty`. */
  demultiplexer?: Demultiplexer;
}

/**
 * Carries an attached process's streams until its output ends ("ended") or the user detaches ("detached"). The
 * terminal's mode is restored in every case. Rejects when reading or writing failed.
 */
export async function carryStreams(connection: Hijacked, options: SessionOptions): Promise<"ended" | "detached"> {
  const terminal = options.stdin && options.tty && isTerminal(0);
  const restore = terminal ? rawMode() : undefined;
  const input = options.stdin ? sendInput(connection, options, terminal) : undefined;
  const output = copyOutput(connection, options);
  try {
    if (!input) {
      await output;
      return "ended";
    }
    const first = await Promise.race([output.then(() => "ended" as const), input]);
    if (first === "ended" || first === "detached") return first;
    // Our stdin has ended; the process goes on.
    await output;
    return "ended";
  } finally {
    restore?.();
    connection.close();
    output.catch(() => {});
  }
}

async function copyOutput(connection: Hijacked, options: SessionOptions): Promise<void> {
  const demultiplexer = options.demultiplexer ?? (options.tty ? undefined : new Demultiplexer());
  while (!demultiplexer?.ended) {
    const chunk = await connection.read();
    if (!chunk) break;
    if (!demultiplexer) {
      if (options.output !== false) await stdout.write(chunk);
      continue;
    }
    for (const { stream, data } of demultiplexer.push(chunk)) {
      if (options.output !== false) await (stream === "stderr" ? stderr : stdout).write(data);
    }
  }
  if (demultiplexer && !demultiplexer.complete) throw new Error("the connection to the engine broke off in mid-stream");
}

async function sendInput(
  connection: Hijacked,
  options: SessionOptions,
  terminal: boolean,
): Promise<"eof" | "detached" | "closed"> {
  const filter = options.tty ? new DetachFilter(parseDetachKeys(options.detachKeys || DEFAULT_DETACH_KEYS)) : undefined;
  try {
    for await (const chunk of readStdin(terminal)) {
      const data = filter ? filter.push(chunk) : chunk;
      if (data.length > 0) await connection.write(data);
      if (filter?.detached) return "detached";
    }
  } catch {
    // The process closed its stdin, or ended; its output and status say the rest.
    return "closed";
  }
  connection.end();
  return "eof";
}
