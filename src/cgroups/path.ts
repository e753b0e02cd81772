import { invalid } from "../base/errors.ts";

/**
 * Checks a cgroup path: absolute below each hierarchy's root, at least one component, none of them empty, `.` or `..`,
 * no control characters. Returns it unchanged; anything else is an invalid-argument error.
 */
export function checkCgroupPath(path: string): string {
  const shown = JSON.stringify(path.slice(0, 200));
  if (path.length > 3000 || !path.startsWith("/")) throw invalid(`invalid cgroup path ${shown}: not absolute`);
  for (const name of path.slice(1).split("/")) {
    if (name === "" || name === "." || name === "..") throw invalid(`invalid cgroup path ${shown}: not a clean path`);
    if (Buffer.byteLength(name) > 255) throw invalid(`invalid cgroup path ${shown}: a name over 255 bytes`);
    if (/[\0-\x1f\x7f]/.test(name)) throw invalid(`invalid cgroup path ${shown}: control character`);
  }
  return path;
}

/** `/a`, `/a/b`, … up to the parent of `path`; without the root. */
export function ancestors(path: string): string[] {
  const found: string[] = [];
  for (let end = path.indexOf("/", 1); end > 0; end = path.indexOf("/", end + 1)) found.push(path.slice(0, end));
  return found;
}
