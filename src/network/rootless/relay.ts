import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { doorCommand } from "../../worker/door.ts";
import { RELAY_DOOR, type RelayOrder } from "./door.ts";

/**
 * Passes on what comes to sockets of the machine's network to addresses in the engine's, in a process of its own that is
 * there while ports are open. It ends with the engine, and the next one opens them again.
 */
export class Relay {
  readonly #open = new Map<string, RelayOrder>();
  #child: ChildProcess | undefined;

  constructor(private readonly log: (line: string) => void) {}

  /** `key` names the port; `fd` is bound, and listens if it is TCP's. It stays the caller's, and open until {@link close}. */
  open(order: Extract<RelayOrder, { open: string }>): void {
    this.#open.set(order.open, order);
    if (this.#child) this.#tell(order);
    else this.#start();
  }

  close(key: string): void {
    if (!this.#open.delete(key)) return;
    if (this.#open.size > 0) this.#tell({ close: key });
    else this.end();
  }

  end(): void {
    this.#open.clear();
    this.#child?.kill("SIGKILL");
    this.#child = undefined;
  }

  #start(): void {
    const [command, ...args] = doorCommand(RELAY_DOOR, join(import.meta.dir, "relay-process.ts"), String(process.pid));
    const child = spawn(command, args, { stdio: ["pipe", "ignore", "pipe"], cwd: "/" });
    this.#child = child;
    child.stdin!.on("error", () => {});
    child
      .stderr!.setEncoding("utf8")
      .on("data", (text: string) => this.log(`published ports: ${text.trim().slice(0, 500)}`));
    child.unref();
    (child.stdin as unknown as { unref?(): void }).unref?.();
    (child.stderr as unknown as { unref?(): void }).unref?.();
    child.on("exit", () => {
      if (this.#child !== child) return;
      this.#child = undefined;
      this.log("published ports: their relay has ended, another is started");
      if (this.#open.size > 0) this.#start();
    });
    for (const order of this.#open.values()) this.#tell(order);
  }

  #tell(order: RelayOrder): void {
    this.#child?.stdin?.write(`${JSON.stringify(order)}\n`);
  }
}
