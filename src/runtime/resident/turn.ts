import { openSync } from "node:fs";
import { SysError } from "../../base/errors.ts";
import { sys } from "../../linux/call.ts";
import { close } from "../../linux/file.ts";
import { pidfdGetfd, pidfdOpen, sealedExecutable } from "../../linux/process.ts";
import type { Readiness } from "../../linux/readiness.ts";
import { receivePacket, sendPacket } from "../../linux/seqpacket.ts";
import { sendWithDescriptor } from "../../linux/unix-socket.ts";
import { encode } from "../../program/elf.ts";
import { BECOME, STATUS, TAKEN } from "../../program/front.ts";
import { MACHINE } from "../../program/machine.ts";
import { actFor, type Behalf, Declined } from "../oci/behalf.ts";
import { agentProgram, FAILED, HAS_DESCRIPTORS, SIGNAL } from "./agent.ts";
import type { Call } from "./call.ts";
import type { Hands } from "./hands.ts";

/** How long a front that was there a moment ago may take to say so, and an agent to begin, in ms. */
const SHORT = 100;
const LONG = 10_000;
/** A failed row (ir.ts). */
const RECORD = 8;

/**
 * One call, done on behalf of its front. While it has the {@link Hands}, this process has the front's stdio, working
 * directory and umask.
 */
export class Turn implements Behalf {
  #taken = false;
  #spawned = false;
  #failed = false;
  readonly #early: number[] = [];
  #target: number | undefined;
  #over = false;

  constructor(
    readonly call: Call,
    readonly connection: number,
    readonly hands: Hands,
    readonly readiness: Readiness,
  ) {}

  get taken(): boolean {
    return this.#taken;
  }

  /** Becomes the front as far as its files are concerned. Throws where it has ended. */
  enter(): void {
    const pidfd = pidfdOpen(this.call.pid);
    try {
      for (const fd of STDIO) put(pidfdGetfd(pidfd, fd), fd);
    } finally {
      close(pidfd);
    }
    process.chdir(this.call.cwd);
    process.umask(this.call.umask);
    for (const name of ["XDG_RUNTIME_DIR", "USER"]) delete process.env[name];
    Object.assign(process.env, this.call.env);
    actFor(this);
  }

  take(): void {
    // Whoever gave up waiting does it by itself, and hangs up first.
    const there =
      sendPacket(this.connection, Buffer.alloc(TAKEN)) && receivePacket(this.connection, 8, SHORT)?.length === 1;
    if (!there) throw new Declined();
    this.#taken = true;
  }

  spawn(executable: number, fds: readonly (readonly [ours: number, theirs: number])[], foreground: boolean): void {
    const { ignored } = this.call;
    const program = agentProgram({ resident: process.pid, executable, fds, foreground, ignored });
    const agent = sealedExecutable("inro-runtime", encode(program, MACHINE));
    try {
      sendWithDescriptor(this.connection, Buffer.alloc(BECOME), agent);
    } finally {
      close(agent);
    }
    this.#spawned = true;
    for (;;) {
      const message = receivePacket(this.connection, SIGNAL, LONG);
      if (message?.length === HAS_DESCRIPTORS) return;
      if (message?.length === SIGNAL) {
        this.#early.push(message.readUInt32LE(0));
        continue;
      }
      this.#failed = true;
      if (message?.length === RECORD) {
        const row = program.rows[message.readUInt32LE(0)];
        throw new SysError(row && "call" in row ? row.call : "agent", row?.why ?? "", message.readUInt32LE(4));
      }
      throw new SysError("agent", `pid ${this.call.pid}`, message ? ESRCH : ETIMEDOUT);
    }
  }

  failed(): void {
    this.#failed = true;
  }

  passSignals(pid: number): void {
    this.#target = pid;
    for (const signal of this.#early.splice(0)) this.#pass(signal);
    this.#listen();
  }

  async readable(fd: number): Promise<void> {
    this.leave();
    await new Promise<void>((resolve) => this.readiness.wait(fd, resolve));
    await this.hands.take();
    actFor(this);
    try {
      this.enter();
    } catch {
      // Without the front nobody reads what there is to say; the rest is done all the same.
    }
  }

  /** Nothing of the front's stays open: somebody may wait for the end of its output. */
  leave(): void {
    actFor(undefined);
    for (const fd of STDIO) put(openSync("/dev/null", "r+"), fd);
    process.chdir("/");
    this.hands.give();
  }

  /** Tells the front how it ended; undefined where it was left to it. Closes the connection. */
  end(code: number | undefined): void {
    this.#over = true;
    if (code !== undefined) {
      const message = Buffer.alloc(this.#spawned && this.#failed ? FAILED : STATUS);
      // An agent exits as a wait status says, a front with the number itself.
      message.writeUInt32LE(this.#spawned ? code << 8 : code);
      sendPacket(this.connection, message);
    }
    close(this.connection);
  }

  #listen(): void {
    this.readiness.wait(this.connection, () => {
      if (this.#over) return;
      for (;;) {
        const message = receivePacket(this.connection, SIGNAL, 0);
        if (message === undefined) break;
        // The front was killed, which its container does not notice.
        if (message.length < SIGNAL) return;
        this.#pass(message.readUInt32LE(0));
      }
      this.#listen();
    });
  }

  #pass(signal: number): void {
    try {
      process.kill(this.#target!, signal);
    } catch {
      // It has ended.
    }
  }
}

const STDIO = [0, 1, 2];

function put(from: number, to: number): void {
  sys("dup3", `fd ${to}`, from, to, 0);
  close(from);
}

const ESRCH = 3;
const ETIMEDOUT = 110;
