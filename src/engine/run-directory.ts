import { mkdirSync, rmdirSync, rmSync } from "node:fs";
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

/** Removes a run directory, if it is there; it is empty but for what execs left. */
export function removeRunDirectory(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") rmSync(path, { recursive: true, force: true });
  }
}
