import { type FileHandle, open } from "node:fs/promises";
import { messageOf } from "../base/errors.ts";
import type { Peer } from "./peer.ts";

/** One API call, when it is over. */
export interface Access {
  /** Milliseconds since the epoch, of its arrival. */
  time: number;
  /** The socket that it came in by: a path or host:port. */
  socket: string;
  peer: Peer | undefined;
  method: string;
  /** Without the query: that of a build holds its arguments, and those hold secrets. */
  path: string;
  status: number;
  /** Of the answer's body; of a connection taken over, what the process wrote. */
  bytes: number;
  /** Milliseconds. */
  duration: number;
}

export type AccessFormat = "text" | "json";

const FLUSH_MS = 100;
const FLUSH_BYTES = 64 * 1024;
/** What waits for a disk that does not take it is bounded; what is beyond is counted, not kept. */
const MOST_BYTES = 4 << 20;
const LONGEST_PATH = 1024;

/**
 * A line for each API call, into a file (made 0640) or on stderr. Nothing of headers, bodies and queries is in it. A call
 * costs a string; lines are written together, at most 100 ms later, one write at a time. Rotation is its reader's: rename
 * the file, then {@link reopen}.
 */
export class AccessLog {
  #lines = "";
  #dropped = 0;
  #writing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  private constructor(
    private file: FileHandle | undefined,
    private readonly path: string,
    private readonly format: Format,
    private readonly complain: (line: string) => void,
  ) {}

  /** `path` "-" is stderr. Rejects with the errno when the file cannot be opened. */
  static async open(path: string, format: AccessFormat, complain: (line: string) => void): Promise<AccessLog> {
    const file = path === "-" ? undefined : await open(path, "a", 0o640);
    return new AccessLog(file, path, FORMATS[format], complain);
  }

  write(access: Access): void {
    if (this.#lines.length > MOST_BYTES) {
      this.#dropped++;
      return;
    }
    this.#lines += this.format.line(access);
    if (this.#lines.length > FLUSH_BYTES) void this.flush();
    else this.#timer ??= setTimeout(() => void this.flush(), FLUSH_MS);
  }

  /** Resolves when everything so far is written, or has failed to be, which is said once a write. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing ??= this.#drain().finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  async #drain(): Promise<void> {
    while (this.#lines !== "") {
      let text = this.#lines;
      this.#lines = "";
      if (this.#dropped > 0) text += this.format.dropped(this.#dropped);
      this.#dropped = 0;
      try {
        if (this.file) await this.file.appendFile(text);
        else await new Promise<void>((resolve) => process.stderr.write(text, () => resolve()));
      } catch (error) {
        this.complain(`access log ${this.path}: ${messageOf(error)}`);
      }
    }
  }

  /** After the file was renamed: goes on in a new one of the old name. */
  async reopen(): Promise<void> {
    if (!this.file) return;
    await this.flush();
    const old = this.file;
    this.file = await open(this.path, "a", 0o640);
    await old.close();
  }

  async close(): Promise<void> {
    await this.flush();
    await this.file?.close();
  }
}

interface Format {
  line(access: Access): string;
  dropped(count: number): string;
}

const now = () => new Date().toISOString();

const FORMATS: Record<AccessFormat, Format> = {
  text: { line: textLine, dropped: (count) => `${now()} ${count} lines dropped: the disk is too slow\n` },
  json: { line: jsonLine, dropped: (dropped) => `${JSON.stringify({ time: now(), dropped })}\n` },
};

function textLine({ time, socket, peer, method, path, status, bytes, duration }: Access): string {
  const who =
    peer === undefined
      ? "-"
      : peer.kind === "unix"
        ? `uid=${peer.uid} gid=${peer.gid} pid=${peer.pid}`
        : `cn=${JSON.stringify(peer.name)} from=${peer.address}`;
  const what = JSON.stringify(`${method} ${path.slice(0, LONGEST_PATH)}`);
  return `${new Date(time).toISOString()} ${socket} ${who} ${what} ${status} ${bytes} ${duration.toFixed(2)}ms\n`;
}

function jsonLine({ time, socket, peer, method, path, status, bytes, duration }: Access): string {
  const who =
    peer === undefined
      ? {}
      : peer.kind === "unix"
        ? { uid: peer.uid, gid: peer.gid, pid: peer.pid }
        : { cn: peer.name, from: peer.address };
  const what = { method, path: path.slice(0, LONGEST_PATH), status, bytes, ms: Number(duration.toFixed(2)) };
  return `${JSON.stringify({ time: new Date(time).toISOString(), socket, ...who, ...what })}\n`;
}
