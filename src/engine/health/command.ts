import { newId } from "../../base/digest.ts";
import { conflict } from "../../base/errors.ts";
import type { Running } from "../../runtime/running.ts";
import type { Container } from "../container.ts";
import { type Context, emit } from "../context.ts";
import { execCommandText, launchExec } from "../exec-process.ts";
import { OutputReader } from "../output-reader.ts";
import { HEALTH_EXEC } from "../paths.ts";
import { removeExecDirectory } from "../run-directory.ts";

/** Bytes of a probe's output that are kept (docker's health.go). */
const LONGEST_OUTPUT = 4096;

/** A command in the container that says by its exit status how the container is. */
export class CommandProbe {
  readonly #parts: Uint8Array[] = [];
  #length = 0;
  #cut = false;
  #running: Running | undefined;
  #killed = false;

  constructor(
    private readonly ctx: Context,
    private readonly container: Container,
    private readonly command: string[],
  ) {}

  /** Runs it as an exec of its own. What keeps it from running is thrown. */
  async run(): Promise<{ exitCode: number; output: string }> {
    const { ctx, container } = this;
    const request = { Cmd: this.command, AttachStdout: true, AttachStderr: true };
    const execID = newId();
    const text = execCommandText(request);
    emit(ctx, container, `exec_create: ${text}`, { execID });
    const id = `${HEALTH_EXEC}${execID}`;
    const running = await container.mutex.run(async () => {
      // Frozen, its start would not come to an end.
      if (container.state.status !== "running") throw conflict(`container ${container.id} is not running`);
      return launchExec(ctx, container, id, request);
    });
    this.#running = running;
    emit(ctx, container, `exec_start: ${text}`, { execID });
    const read = (fd: number | undefined) =>
      fd === undefined ? [] : [new OutputReader(fd, (data) => this.#take(data))];
    const readers = [...read(running.stdout), ...read(running.stderr)];
    if (this.#killed) running.endGroup();
    try {
      const { code } = await running.exited;
      await Promise.all(readers.map((reader) => reader.drain()));
      emit(ctx, container, "exec_die", { execID, exitCode: String(code) });
      return { exitCode: code, output: this.output };
    } finally {
      running.release();
      removeExecDirectory(ctx.paths.execDir(container.id, id));
    }
  }

  #take(data: Uint8Array): undefined {
    const room = LONGEST_OUTPUT - this.#length;
    if (data.length > room) this.#cut = true;
    if (room <= 0) return;
    const part = data.slice(0, room);
    this.#parts.push(part);
    this.#length += part.length;
  }

  /** What it has written so far. */
  get output(): string {
    return Buffer.concat(this.#parts).toString() + (this.#cut ? "..." : "");
  }

  /** {@link run} then comes to its end. */
  kill(): void {
    this.#killed = true;
    this.#running?.endGroup();
  }
}
