import { createReadStream, statSync } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { release } from "../base/release.ts";
import { streamed } from "../base/streamed.ts";
import { ExitError } from "./command.ts";
import { isTerminal, readStdin } from "./terminal.ts";

/** The bytes of a file, or of stdin for "-". */
export function fileStream(path: string): AsyncIterable<Uint8Array> {
  if (path === "-") return readStdin(false);
  try {
    if (statSync(path).isDirectory()) throw new ExitError(1, `open ${path}: is a directory`);
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT")
      throw new ExitError(1, `open ${path}: no such file or directory`);
    throw error;
  }
  return passed(createReadStream(path, { highWaterMark: 1 << 18 }));
}

async function* passed(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of chunks) {
    streamed(chunk.length);
    yield chunk;
  }
}

export function refuseTerminal(fd: 0 | 1, message: string): void {
  if (isTerminal(fd)) throw new ExitError(1, message);
}

/**
 * Writes a stream to a new file beside `path` and renames it when it is complete: no half file is left. What is there and
 * no regular file, a device or a pipe, is written to as it is: another file must not take its place.
 */
export async function writeFile(path: string, body: AsyncIterable<Uint8Array>): Promise<void> {
  if (statSync(path, { throwIfNoEntry: false })?.isFile() === false) return await writeInto(path, body);
  const temporary = `${path}.${process.pid}.tmp`;
  const file = await open(temporary, "wx", 0o600);
  try {
    await copy(body, file);
    await file.close();
    await rename(temporary, path);
  } catch (error) {
    await file.close().catch(() => {});
    await rm(temporary, { force: true });
    throw error;
  }
}

async function copy(body: AsyncIterable<Uint8Array>, file: FileHandle): Promise<void> {
  for await (const chunk of passed(body)) {
    await file.writeFile(chunk);
    release(chunk);
  }
}

async function writeInto(path: string, body: AsyncIterable<Uint8Array>): Promise<void> {
  const file = await open(path, "w");
  try {
    await copy(body, file);
  } finally {
    await file.close();
  }
}
