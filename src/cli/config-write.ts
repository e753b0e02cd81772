import { chmodSync, mkdirSync, readFileSync, realpathSync, renameSync, writeFileSync } from "node:fs";
import { codeOf, messageOf } from "../base/errors.ts";
import { ExitError } from "./command.ts";

/**
 * Changes config.json, whole or not at all: what `change` does not touch stays, in its order, and so does a symlink in
 * the file's place. It is for its owner alone. A file that is no JSON is an ExitError, and left alone.
 */
export function updateConfig(directory: string, change: (config: Record<string, unknown>) => void): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const path = target(`${directory}/config.json`);
  let config: unknown = {};
  try {
    config = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw new ExitError(1, `cannot change ${path}: ${messageOf(error)}`);
  }
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw new ExitError(1, `cannot change ${path}: it is no JSON object`);
  }
  change(config as Record<string, unknown>);
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, JSON.stringify(config, undefined, "\t"), { mode: 0o600 });
  chmodSync(temporary, 0o600);
  renameSync(temporary, path);
}

function target(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return path;
    throw error;
  }
}
