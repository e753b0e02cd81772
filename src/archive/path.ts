import { posix } from "node:path";
import { invalid } from "../base/errors.ts";

/**
 * How a path ends decides what it means to `docker cp`: `dir` is the directory with its name, `dir/.` its contents, and
 * a slash at the end says that it is a directory, and follows a symlink. So a clean path keeps its end.
 */

/** Whether it ends in `.` as a whole name: the contents of a directory. */
export function namesContents(path: string): boolean {
  return posix.basename(path) === ".";
}

/** Whether a path says by its end that it is a directory. */
export function namesDirectory(path: string): boolean {
  return path.endsWith("/") || namesContents(path);
}

/** `cleaned` with the end of `original`, where that says more. */
export function keepEnd(cleaned: string, original: string): string {
  const slash = (path: string) => (path.endsWith("/") ? path : `${path}/`);
  if (namesContents(original) && !namesContents(cleaned)) return `${slash(cleaned)}.`;
  return original.endsWith("/") ? slash(cleaned) : cleaned;
}

/** A path inside a container: absolute, without `..`, its end kept. A NUL in it is invalid. */
export function containerPath(path: string): string {
  if (path.includes("\0")) throw invalid(`invalid path ${JSON.stringify(path.slice(0, 200))}: holds a NUL`);
  const cleaned = posix.join("/", path).replace(/(?<=.)\/$/, "");
  return keepEnd(cleaned, path);
}

/** Last name and what is before it; the contents of a directory (`a/.`) are its entry `.`. */
export function splitEntry(path: string): { directory: string; name: string } {
  const cleaned = posix.normalize(path).replace(/(?<=.)\/$/, "");
  if (namesContents(path)) return { directory: cleaned, name: "." };
  return { directory: posix.dirname(cleaned), name: posix.basename(cleaned) || "/" };
}
