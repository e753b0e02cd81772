import { closeSync, openSync, unlinkSync, writeSync } from "node:fs";
import { codeOf } from "../base/errors.ts";

/**
 * Does `work`, which writes the new container's id to `path`. The file is made before, so that a place that cannot be
 * written is told while nothing is created, and must not exist: two containers must not share one. Without an id it is
 * removed again.
 */
export async function withCidFile<T>(path: string, work: (write: (id: string) => void) => Promise<T>): Promise<T> {
  let fd: number;
  try {
    fd = openSync(path, "wx", 0o644);
  } catch (error) {
    const code = codeOf(error);
    if (code === "EEXIST") {
      throw new Error(`container ID file found, make sure the other container isn't running or delete ${path}`);
    }
    const reason = code === "ENOENT" ? "no such file or directory" : (error as Error).message;
    throw new Error(`failed to create the container ID file: open ${path}: ${reason}`);
  }
  let written = false;
  try {
    return await work((id) => {
      writeSync(fd, id);
      written = true;
    });
  } finally {
    closeSync(fd);
    if (!written) unlinkSync(path);
  }
}
