import fs from "node:fs";
import { codeOf } from "../../base/errors.ts";
import type { OutputChunk } from "../requests.ts";

/** Kind, inode and size of the log, lengths of the two streams' pieces. */
const HEADER = 32;
/** All that was read is in the log, but for the pieces. */
const SETTLED = 1;
/** Output is on its way into the log, and still in the pipe: what follows `size` is part of it. */
const UNDERWAY = 2;

/**
 * What an engine that is killed must not lose or log twice, in a file beside the log: output that is in no record yet,
 * because its line is not finished, and how far the log was when what is in the pipe began to be written.
 */
export class Unfinished {
  #fd: number | undefined;
  readonly #path: string;

  constructor(log: string) {
    this.#path = `${log}.unfinished`;
  }

  /** Before output is written that is still in the pipe; `log` is the log's descriptor. */
  begin(pieces: readonly OutputChunk[], log: number): void {
    this.#write(UNDERWAY, pieces, log);
  }

  /** After it has left the pipe. */
  settle(pieces: readonly OutputChunk[], log: number): void {
    this.#write(SETTLED, pieces, log);
  }

  #write(kind: number, pieces: readonly OutputChunk[], log: number): void {
    this.#fd ??= fs.openSync(this.#path, "w", 0o600);
    const data = (stream: number) => pieces.find((piece) => piece.stream === stream)?.data ?? new Uint8Array(0);
    const [out, err] = [data(1), data(2)];
    const { ino, size } = fs.fstatSync(log);
    const header = Buffer.alloc(HEADER);
    header.writeUInt32LE(kind, 0);
    header.writeBigUInt64LE(BigInt(ino), 8);
    header.writeBigUInt64LE(BigInt(size), 16);
    header.writeUInt32LE(out.length, 24);
    header.writeUInt32LE(err.length, 28);
    if (out.length + err.length === 0) fs.writeSync(this.#fd, header, 0, HEADER, 0);
    else fs.writevSync(this.#fd, [header, out, err], 0);
  }

  /**
   * What another engine left, for the log that is open as `log`: the pieces, and the size up to which the log is good,
   * if what comes after it is in the pipe again. It is forgotten.
   */
  restore(log: number): { pieces: OutputChunk[]; size?: number } {
    let data: Buffer;
    try {
      data = fs.readFileSync(this.#path);
    } catch (error) {
      if (codeOf(error) === "ENOENT") return { pieces: [] };
      throw error;
    }
    this.forget();
    if (data.length < HEADER) return { pieces: [] };
    const { ino, size: present } = fs.fstatSync(log);
    const size = Number(data.readBigUInt64LE(16));
    const underway = data.readUInt32LE(0) === UNDERWAY;
    // Rotated since, or written to: it says nothing about this file.
    if (data.readBigUInt64LE(8) !== BigInt(ino) || (underway ? size > present : size !== present))
      return { pieces: [] };
    const middle = HEADER + data.readUInt32LE(24);
    const end = middle + data.readUInt32LE(28);
    if (data.length < end) return { pieces: [] };
    const pieces: OutputChunk[] = [
      { stream: 1, data: data.subarray(HEADER, middle) },
      { stream: 2, data: data.subarray(middle, end) },
    ];
    return { pieces: pieces.filter((piece) => piece.data.length > 0), ...(underway ? { size } : {}) };
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
