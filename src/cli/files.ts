import { createReadStream, statSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
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
  return createReadStream(path, { highWaterMark: 1 << 18 });
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
    for await (const chunk of body) await file.writeFile(chunk);
    await file.close();
    await rename(temporary, path);
  } catch (error) {
    await file.close().catch(() => {});
    await rm(temporary, { force: true });
    throw error;
  }
}

async function writeInto(path: string, body: AsyncIterable<Uint8Array>): Promise<void> {
  const file = await open(path, "w");
  try {
    for await (const chunk of body) await file.writeFile(chunk);
  } finally {
    await file.close();
  }
}
