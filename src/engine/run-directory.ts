import { mkdirSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { codeOf } from "../base/errors.ts";
import { trySys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import { scratch, str } from "../linux/ffi.ts";
import { STATUS_FILE } from "../runtime/running.ts";

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

/** Removes a run directory, if it is there: at once if it holds what a run leaves there, else off the event loop. */
export function removeRunDirectory(path: string): Promise<void> | undefined {
  return removeEnded(path) ? undefined : rm(path, { recursive: true, force: true });
}

/** Of an exec that has ended: the status file is all that is in it. */
export function removeExecDirectory(path: string): void {
  if (!removeEnded(path)) rmSync(path, { recursive: true, force: true });
}

/** False where more than the status file is in it. */
function removeEnded(path: string): boolean {
  const result = scratch(() => {
    trySys("unlinkat", k.AT_FDCWD, str(`${path}/${STATUS_FILE}`), 0);
    return trySys("unlinkat", k.AT_FDCWD, str(path), k.AT_REMOVEDIR);
  });
  return result === 0 || result === -ENOENT;
}

const ENOENT = 2;
