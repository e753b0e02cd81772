import { ExitError } from "../command.ts";

/** Checks one `-e`: a name must stand before any `=`. */
export function parseEnv(text: string): string {
  if (text === "" || text.startsWith("=")) throw new Error(`invalid environment variable: ${text}`);
  return text;
}

/**
 * The environment of --env-file and -e, files first; a name given again keeps its place and takes the later value.
 * `NAME` alone takes the caller's value. When the caller has none, a file's line is left out, while `-e NAME` stays: the
 * engine then removes the variable that the image sets.
 */
export function environment(files: readonly string[], given: readonly string[], env = process.env): string[] {
  const merged = new Map<string, string>();
  const add = (line: string, keep: boolean) => {
    const equals = line.indexOf("=");
    const name = equals < 0 ? line : line.slice(0, equals);
    const value = equals < 0 ? env[line] : line.slice(equals + 1);
    if (value !== undefined) merged.set(name, `${name}=${value}`);
    else if (keep) merged.set(name, name);
  };
  for (const path of files) for (const line of keyValueFile(path, "env")) add(line, false);
  for (const line of given) add(line, true);
  return [...merged.values()];
}

/** Labels of --label-file and -l, later ones winning; `NAME` alone has the value "". */
export function labels(files: readonly string[], given: readonly string[]): Record<string, string> {
  const lines = files.flatMap((path) => keyValueFile(path, "label"));
  return toMap([...lines, ...given]);
}

/** `k=v` lines as an object; a line without `=` has the value "". */
export function toMap(lines: readonly string[]): Record<string, string> {
  const map: Record<string, string> = Object.create(null);
  for (const line of lines) {
    const equals = line.indexOf("=");
    if (equals < 0) map[line] = "";
    else map[line.slice(0, equals)] = line.slice(equals + 1);
  }
  return { ...map };
}

/** Lines `NAME=VALUE` and `NAME`; blank lines and lines that begin with # are skipped; quotes are kept as they are. */
function keyValueFile(path: string, what: string): string[] {
  let text: string;
  try {
    // Loading node:fs costs 2 ms.
    const { readFileSync } = require("node:fs") as typeof import("node:fs");
    text = new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(path));
  } catch (error) {
    const code = (error as { code?: string }).code;
    const reason = code === "ENOENT" ? "no such file or directory" : (error as Error).message;
    throw new ExitError(125, `open ${path}: ${reason}`);
  }
  const lines: string[] = [];
  for (const raw of text.split("\n")) {
    const line = raw.replace(/\r$/, "").trimStart();
    if (line === "" || line.startsWith("#")) continue;
    const equals = line.indexOf("=");
    const name = equals < 0 ? line : line.slice(0, equals);
    if (name === "") throw new ExitError(125, `invalid ${what} file (${path}): no variable name on line '${line}'`);
    if (/\s/.test(name)) {
      throw new ExitError(125, `invalid ${what} file (${path}): variable '${name}' contains whitespaces`);
    }
    lines.push(line);
  }
  return lines;
}
