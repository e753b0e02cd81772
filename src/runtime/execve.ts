import { posix } from "node:path";
import { invalid } from "../base/errors.ts";
import type { Process } from "../spec/oci-runtime.ts";
import type { Builder } from "./builder.ts";

/** What the shells and libc take when there is no PATH. */
export const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export function pathOf(env: readonly string[] | undefined): string {
  let path: string | undefined;
  for (const entry of env ?? []) if (entry.startsWith("PATH=")) path = entry.slice(5);
  return path ?? DEFAULT_PATH;
}

/**
 * The last rows: the program becomes the container's process. One execve for each directory of PATH, unless `path` names
 * the file.
 */
export function execProcess(p: Builder, process: Process, path?: string): void {
  const args = process.args ?? [];
  const command = path ?? args[0];
  if (!command) throw invalid("process.args: no command");
  const argv = p.strings(args, args.length > 1 ? `${command} …${args.length - 1}` : command);
  const envp = p.strings(process.env ?? [], `${process.env?.length ?? 0} variables`);
  const why = "process.args";
  if (command.includes("/")) {
    p.call(why, "execve", [p.text(command), argv, envp]);
    return;
  }
  const seen = new Set<string>();
  for (const directory of pathOf(process.env).split(":")) {
    const path = posix.join(directory || ".", command);
    if (seen.has(path)) continue;
    seen.add(path);
    p.call(`${why}, in PATH`, "execve", [p.text(path), argv, envp], {
      // What may not be executed is passed over, as in docker's search: a directory, one that the user may not enter.
      ignore: ["ENOENT", "ENOTDIR", "EACCES"],
    });
  }
  p.fail(`${why}: nowhere in PATH`, "execve", command, "ENOENT");
}
