import { newId } from "../base/digest.ts";
import { conflict, InroError, messageOf, notFound } from "../base/errors.ts";
import { setWindowSize } from "../linux/process.ts";
import type { Running } from "../runtime/running.ts";
import type { Toolbox } from "../runtime/toolbox.ts";
import type { ExecCreateRequest, ExecInspect } from "../spec/docker-api.ts";
import { validateExec } from "./config/exec-process.ts";
import { execRequest } from "./config/request-fields.ts";
import type { Container } from "./container.ts";
import { type Context, emit } from "./context.ts";
import { checkExecUser, execCommandText, execExitCode, launchExec } from "./exec-process.ts";
import type { Attachment, ExecStartOptions } from "./requests.ts";
import { refuseRestarting } from "./restart/restarts.ts";
import { removeExecDirectory } from "./run-directory.ts";
import { Stdio } from "./stdio.ts";

interface Exec {
  id: string;
  container: Container;
  request: ExecCreateRequest;
  status: "created" | "running" | "ended";
  running?: Running;
  pid: number;
  exitCode: number | null;
  stdio?: Stdio;
  debug?: ExecDebug;
  /** Called when the container is removed. */
  forget?: () => void;
}

/** What a debugging exec has besides: tools, mounted for it alone. `end` is called at its end, once. */
export interface ExecDebug {
  tools: Toolbox;
  end(): void;
}

/** One that is not started holds its tools no longer. */
const DEBUG_START_MS = 60 * 1000;

const UNSTARTED = 126;

/** An ended exec can be inspected for this long. */
const KEEP_ENDED_MS = 5 * 60 * 1000;

/**
 * Further processes in running containers. They are not recorded: a new engine lets them run to their end, but does not
 * know their ids any more, as in docker. An unknown id is notFound.
 */
export class Execs {
  readonly #execs = new Map<string, Exec>();

  constructor(private readonly ctx: Context) {}

  /** `body` is the untrusted ExecCreateRequest. A container that does not run, or is paused, is a conflict. */
  async create(containerRef: string, body: unknown, debug?: ExecDebug): Promise<{ Id: string }> {
    const container = this.ctx.table.get(containerRef);
    const request = validateExec(body);
    checkRunning(container);
    if (request.User) checkExecUser(this.ctx, container, request.User);
    const id = newId();
    const exec: Exec = { id, container, request, status: "created", pid: 0, exitCode: null };
    this.#execs.set(id, exec);
    if (debug) {
      exec.debug = debug;
      setTimeout(() => exec.status === "created" && this.#ended(exec, UNSTARTED), DEBUG_START_MS).unref();
    }
    container.execs.add(id);
    // One that is never started goes with its container; an ended one is asked for a while longer.
    exec.forget = () => {
      if (exec.status === "created") this.#ended(exec, UNSTARTED);
    };
    container.removalWaiters.add(exec.forget);
    emit(this.ctx, container, `exec_create: ${execCommandText(request)}`, { execID: id });
    return { Id: id };
  }

  /** Throws what start would throw before any process exists; for answering before the connection is hijacked. */
  check(id: string): void {
    const { status, container } = this.#get(id);
    if (status === "running") throw conflict(`exec command ${id} is already running`);
    if (status === "ended") throw conflict(`exec command ${id} has already run`);
    checkRunning(container);
  }

  /**
   * Starts it once (again is a conflict). With Detach resolves undefined when it runs. Of a command that cannot run
   * inspect says 126 or 127; the reason is all that an attached client reads, without one start rejects with it.
   */
  start(id: string, options: ExecStartOptions & { Detach: true }): Promise<undefined>;
  start(id: string, options: ExecStartOptions): Promise<Attachment | undefined>;
  async start(id: string, options: ExecStartOptions): Promise<Attachment | undefined> {
    const exec = this.#get(id);
    this.check(id);
    const { container, request } = exec;
    // Checked like the rest of the request; null is absent.
    const { ConsoleSize } = execRequest({ ConsoleSize: options.ConsoleSize ?? null }, "");
    if (ConsoleSize) request.ConsoleSize = ConsoleSize;
    exec.status = "running";
    const stdio = new Stdio({
      tty: request.Tty ?? false,
      stdinOnce: true,
      onDetach: () => emit(this.ctx, container, "exec_detach", { execID: id }),
    });
    exec.stdio = stdio;
    const detachKeys = options.detachKeys ?? request.DetachKeys;
    const attachment = options.Detach
      ? undefined
      : stdio.attach({
          stream: true,
          stdin: request.AttachStdin ?? false,
          stdout: request.AttachStdout ?? false,
          stderr: request.AttachStderr ?? false,
          ...(detachKeys ? { detachKeys } : {}),
        });
    try {
      // Not while the container is being paused, ended or removed.
      exec.running = await container.mutex.run(async () => {
        checkRunning(container);
        return launchExec(this.ctx, container, id, request, exec.debug?.tools);
      });
    } catch (error) {
      this.#ended(exec, execExitCode(error));
      // As in docker: who is attached reads the reason on the stream, and the status with inspect.
      if (attachment && request.AttachStdout && !isConflict(error)) {
        stdio.refuse(messageOf(error));
        return attachment;
      }
      attachment?.close();
      throw error;
    }
    container.activeExecs++;
    exec.pid = exec.running.pid;
    stdio.connect(exec.running);
    emit(this.ctx, container, `exec_start: ${execCommandText(request)}`, { execID: id });
    this.#watch(exec, exec.running, stdio).catch((error) => {
      this.ctx.log(`exec ${id.slice(0, 12)}: after its end: ${messageOf(error)}`);
    });
    return attachment;
  }

  async #watch(exec: Exec, running: Running, stdio: Stdio): Promise<void> {
    const { code } = await running.exited;
    if (exec.running !== running) return;
    exec.container.activeExecs--;
    exec.container.use();
    // The exit code is there before the output ends: clients ask for it then.
    this.#ended(exec, code);
    emit(this.ctx, exec.container, "exec_die", { execID: exec.id, exitCode: String(code) });
    await stdio.finish();
    running.release();
    removeExecDirectory(this.ctx.paths.execDir(exec.container.id, exec.id));
  }

  #ended(exec: Exec, exitCode: number): void {
    exec.status = "ended";
    exec.exitCode = exitCode;
    exec.pid = 0;
    exec.container.execs.delete(exec.id);
    exec.debug?.end();
    delete exec.debug;
    if (exec.forget) exec.container.removalWaiters.delete(exec.forget);
    setTimeout(() => this.#execs.delete(exec.id), KEEP_ENDED_MS).unref();
  }

  /** Characters. Not running is a conflict; without a terminal nothing happens. */
  async resize(id: string, height: number, width: number): Promise<void> {
    const { running, status } = this.#get(id);
    if (status !== "running" || !running) throw conflict(`exec ${id} is not running`);
    if (running.pty !== undefined) setWindowSize(running.pty, height, width);
  }

  inspect(id: string): ExecInspect {
    const { container, request, status, exitCode, pid } = this.#get(id);
    const [entrypoint = "", ...args] = request.Cmd ?? [];
    return {
      ID: id,
      Running: status === "running",
      ExitCode: exitCode,
      ProcessConfig: {
        tty: request.Tty ?? false,
        entrypoint,
        arguments: args,
        privileged: request.Privileged ?? false,
        ...(request.User ? { user: request.User } : {}),
      },
      OpenStdin: request.AttachStdin ?? false,
      OpenStderr: request.AttachStderr ?? false,
      OpenStdout: request.AttachStdout ?? false,
      CanRemove: status === "ended",
      ContainerID: container.id,
      DetachKeys: request.DetachKeys ?? "",
      Pid: pid,
    };
  }

  /** Whether a client is attached to one. */
  get busy(): boolean {
    return [...this.#execs.values()].some(({ stdio }) => (stdio?.clients ?? 0) > 0);
  }

  /** The engine leaves; the processes stay. */
  async close(): Promise<void> {
    for (const exec of this.#execs.values()) {
      if (exec.status !== "running") continue;
      delete exec.running;
      await exec.stdio?.disconnect();
    }
  }

  #get(id: string): Exec {
    const exec = this.#execs.get(id);
    if (!exec) throw notFound(`No such exec instance: ${id.slice(0, 256)}`);
    return exec;
  }
}

const isConflict = (error: unknown) => error instanceof InroError && error.kind === "conflict";

function checkRunning(container: Container): void {
  const { state, id } = container;
  refuseRestarting(container);
  if (state.status === "paused")
    throw conflict(`container ${container.record.name} is paused, unpause the container before exec`);
  if (state.status !== "running") throw conflict(`container ${id} is not running`);
}
