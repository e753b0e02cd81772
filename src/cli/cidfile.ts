import { closeSync, existsSync, openSync, writeSync } from "node:fs";
import { ExitError } from "./command.ts";

/** A --cidfile must not exist: two containers must not share one. */
export async function refuseExisting(path: string): Promise<void> {
  if (existsSync(path)) {
    throw new ExitError(125, `container ID file found, make sure the other container isn't running or delete ${path}`);
  }
}

export async function writeId(path: string, id: string): Promise<void> {
  const fd = openSync(path, "wx", 0o644);
  try {
    writeSync(fd, id);
  } finally {
    closeSync(fd);
  }
}
