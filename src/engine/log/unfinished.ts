import fs from "node:fs";
import { codeOf } from "../../base/errors.ts";
import type { OutputChunk } from "../requests.ts";

/** Inode and size of the log, lengths of the two streams' pieces. */
const HEADER = 24;

/**
 * Output that is in no record yet because its line is not finished, in a file beside the log: an engine that is killed
 * has taken it out of the pipe, and nobody else has it. It belongs to the log as it was at that moment; once more has
 * been written there, it counts no more.
 */
export class Unfinished {
  #fd: number | undefined;
  readonly #path: string;

  constructor(log: string) {
    this.#path = `${log}.unfinished`;
  }

  /** Keeps `pieces`; `log` is the descriptor of the log, with all records before them. */
  save(pieces: readonly OutputChunk[], log: number): void {
    this.#fd ??= fs.openSync(this.#path, "w", 0o600);
    const data = (stream: number) => pieces.find((piece) => piece.stream === stream)?.data ?? new Uint8Array(0);
    const [out, err] = [data(1), data(2)];
    fs.writevSync(this.#fd, [header(log, out.length, err.length), out, err], 0);
  }

  /** What was kept for the log that is open as `log`; it is forgotten. */
  restore(log: number): OutputChunk[] {
    let data: Buffer;
    try {
      data = fs.readFileSync(this.#path);
    } catch (error) {
      if (codeOf(error) === "ENOENT") return [];
      throw error;
    }
    this.forget();
    if (data.length < HEADER) return [];
    const [out, err] = [data.readUInt32LE(16), data.readUInt32LE(20)];
    const middle = HEADER + out;
    if (data.length < middle + err || !data.subarray(0, HEADER).equals(header(log, out, err))) return [];
    const pieces: OutputChunk[] = [
      { stream: 1, data: data.subarray(HEADER, middle) },
      { stream: 2, data: data.subarray(middle, middle + err) },
    ];
    return pieces.filter((piece) => piece.data.length > 0);
  }

  forget(): void {
    if (this.#fd !== undefined) fs.closeSync(this.#fd);
    this.#fd = undefined;
    fs.rmSync(this.#path, { force: true });
  }

  get exists(): boolean {
    return this.#fd !== undefined || fs.existsSync(this.#path);
  }
}

function header(log: number, out: number, err: number): Buffer {
  const { ino, size } = fs.fstatSync(log);
  const bytes = Buffer.alloc(HEADER);
  bytes.writeBigUInt64LE(BigInt(ino), 0);
  bytes.writeBigUInt64LE(BigInt(size), 8);
  bytes.writeUInt32LE(out, 16);
  bytes.writeUInt32LE(err, 20);
  return bytes;
}
