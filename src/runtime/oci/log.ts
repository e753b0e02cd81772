import { appendFileSync, closeSync, constants, openSync, writeSync } from "node:fs";
import { invalid, messageOf } from "../../base/errors.ts";
import { POLLOUT, poll } from "../../linux/poll.ts";

export interface Log {
  /** Where the callers of a runtime look for its error; undefined: stderr alone. */
  path: string | undefined;
  format: "text" | "json";
  debug: boolean;
}

/** Whoever asks for a log must not miss an error: one that cannot be written is an error before anything is done. */
export function openLog(log: Log, path: string): void {
  const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK, O_NOCTTY } = constants;
  try {
    closeSync(openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY, 0o644));
  } catch (error) {
    throw invalid(`--log: ${messageOf(error)}`, error);
  }
  log.path = path;
}

/** What a config says may be of any length. */
const MAX_MESSAGE = 4096;

/** Writes one line as runc's logger does. An error goes to stderr too, for whoever called by hand. */
export function writeLog(log: Log, level: "error" | "warning" | "debug", message: string): void {
  if (level === "debug" && !log.debug) return;
  if (message.length > MAX_MESSAGE) message = `${message.slice(0, MAX_MESSAGE)}…`;
  const time = new Date().toISOString().replace(/\.\d+Z$/, "Z");
  const line =
    log.format === "json"
      ? JSON.stringify({ level, msg: message, time })
      : `time="${time}" level=${level} msg=${JSON.stringify(message)}`;
  if (log.path !== undefined) {
    try {
      appendFileSync(log.path, `${line}\n`);
    } catch (error) {
      complain(`inro-runtime: --log ${log.path}: ${error instanceof Error ? error.message : error}\n`);
    }
    if (level === "error") complain(`inro-runtime: ${message}\n`);
    return;
  }
  complain(`${log.format === "json" ? line : level === "error" ? `inro-runtime: ${message}` : line}\n`);
}

/** Says it on stderr. Not by process.stderr: a resident has another one at each of its turns. */
export function complain(text: string): void {
  // Whoever does not read it must not hold a resident up.
  if ((poll([[2, POLLOUT]], PATIENCE_MS)[0]! & POLLOUT) === 0) return;
  try {
    writeSync(2, text);
  } catch {
    // Nobody is there to be told.
  }
}

const PATIENCE_MS = 1000;
