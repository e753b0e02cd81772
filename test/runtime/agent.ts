import { expect } from "bun:test";
import { join } from "node:path";
import type { Runtime } from "./bundle.ts";

const agentProgram = join(import.meta.dir, "agent.child.ts");

/** A seccomp agent in a process of its own. */
export class Agent {
  static #count = 0;
  readonly path: string;
  readonly #child: Bun.Subprocess<"ignore", "pipe", "inherit">;
  readonly #lines: AsyncIterator<string>;

  constructor(runtime: Pick<Runtime, "dir">, refuse: Record<string, number>) {
    this.path = join(runtime.dir, `agent${Agent.#count++}`);
    this.#child = Bun.spawn([process.execPath, agentProgram, this.path, JSON.stringify(refuse)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#lines = linesOf(this.#child.stdout);
  }

  async next(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("the agent has ended");
    return value;
  }

  async state() {
    const line = await this.next();
    expect(line).toStartWith("state {");
    return JSON.parse(line.slice("state ".length));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let text = "";
  for await (const chunk of stream) {
    text += Buffer.from(chunk).toString();
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      yield text.slice(0, end);
      text = text.slice(end + 1);
    }
  }
}

/** All that a shell calls, and the runtime before it; but not write, which no profile may notify. */
export const NEARLY_EVERYTHING =
  `access arch_prctl brk capset chmod clone clone3 close close_range connect dup dup2 dup3 execve
  exit_group faccessat faccessat2 fcntl fstat fchmodat getcwd getdents64 getegid geteuid getgid getpid getppid
  getrandom getuid ioctl lseek lstat mkdir mkdirat mmap mprotect munmap newfstatat open openat openat2 pipe pipe2
  poll prctl pread64 prlimit64 read readlink readlinkat recvmsg rseq rt_sigaction rt_sigprocmask rt_sigreturn
  sendmsg set_robust_list set_tid_address socket stat uname vfork wait4 writev`.split(/\s+/);
