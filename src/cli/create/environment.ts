import { ExitError } from "../command.ts";

/** Checks one `-e`: a name must stand before any `=`. */
export function parseEnv(text: string): string {
  if (text === "" || text.startsWith("=")) throw new Error(`invalid environment variable: ${text}`);
  return text;
}

/** Checks one `-l`: a name must stand before any `=`. */
export function parseLabel(text: string): string {
  if (text === "" || text.startsWith("=")) throw new Error(`invalid label '${text}': empty name`);
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
  for (const path of files) for (const line of keyValueFile(path)) add(line, false);
  for (const line of given) add(line, true);
  return [...merged.values()];
}

/** Labels of --label-file and -l, later ones winning; `NAME` alone has the value "". */
export function labels(files: readonly string[], given: readonly string[]): Record<string, string> {
  const lines = files.flatMap(keyValueFile);
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
function keyValueFile(path: string): string[] {
  let bytes: Uint8Array;
  try {
    // Loading node:fs costs 2 ms.
    bytes = (require("node:fs") as typeof import("node:fs")).readFileSync(path);
  } catch (error) {
    const code = (error as { code?: string }).code;
    const reason = code === "ENOENT" ? "no such file or directory" : (error as Error).message;
    throw new ExitError(125, `open ${path}: ${reason}`);
  }
  const bad = (what: string): never => {
    throw new ExitError(125, `invalid env file (${path}): ${what}`);
  };
  // A byte order mark is skipped with it.
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const lines: string[] = [];
  let number = 0;
  for (let at = 0; at <= bytes.length; ) {
    const end = bytes.indexOf(0x0a, at);
    const raw = bytes.subarray(at, end < 0 ? bytes.length : end);
    at = end < 0 ? bytes.length + 1 : end + 1;
    number++;
    let line = "";
    try {
      line = decoder.decode(raw).replace(/\r$/, "").trimStart();
    } catch {
      bad(`invalid utf8 bytes at line ${number}: [${[...raw].join(" ")}]`);
    }
    if (line === "" || line.startsWith("#")) continue;
    const equals = line.indexOf("=");
    const name = equals < 0 ? line : line.slice(0, equals);
    if (name === "") bad(`no variable name on line '${line}'`);
    if (/\s/.test(name)) bad(`variable '${name}' contains whitespaces`);
    lines.push(line);
  }
  return lines;
}
