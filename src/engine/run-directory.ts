import { mkdirSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { codeOf } from "../base/errors.ts";

/** Makes a run directory. Whatever an earlier run left (a crash between its end and its clean-up) is out of date. */
export function makeRunDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
    rmSync(path, { recursive: true, force: true });
    mkdirSync(path, { mode: 0o700 });
  }
}

/** Removes a run directory, if it is there. Off the event loop: it is nobody's but ours, and flat. */
export function removeRunDirectory(path: string): Promise<void> {
  return rm(path, { recursive: true, force: true });
}
