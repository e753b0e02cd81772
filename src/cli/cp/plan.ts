import { posix } from "node:path";
import { namesContents, namesDirectory, splitEntry } from "../../archive/path.ts";
import { ExitError } from "../command.ts";

export interface Source {
  path: string;
  directory: boolean;
  /** The name that its entry is to have, where the path has another: that of a symlink which was followed. */
  rebase?: string | undefined;
}

export interface Destination {
  path: string;
  exists: boolean;
  directory: boolean;
}

/** Where the archive of a source goes, and under which name its first entry arrives (undefined: its own). */
export interface CopyPlan {
  into: string;
  name: string | undefined;
}

/** The rules of `docker cp`, which are those of `cp -a`, but that `dir/.` is the contents of a directory. */
export function planCopy(source: Source, destination: Destination): CopyPlan {
  const { directory, name } = splitEntry(destination.path);
  if (destination.exists && destination.directory) return { into: destination.path, name: source.rebase };
  if (destination.exists) {
    if (source.directory) throw new ExitError(1, `cannot copy directory ${source.path} to file ${destination.path}`);
    return { into: directory, name };
  }
  // What is to be a directory can only be made of one.
  if (!source.directory && namesDirectory(destination.path)) {
    throw new ExitError(1, `no such directory: ${destination.path}`);
  }
  return { into: directory, name };
}

/** The path that a symlink leads to, with the end of the one it stands for, and the name it had there. */
export function followed(path: string, target: string): { path: string; rebase: string | undefined } {
  let end = target;
  if (namesContents(path) && !namesContents(end)) end += "/.";
  else if (path.endsWith("/") && !end.endsWith("/")) end += "/";
  const [asked, found] = [posix.basename(path), posix.basename(end)];
  return { path: end, rebase: asked === found ? undefined : asked };
}

/** A tar's names, with the first name `from` turned into `to`. */
export function renaming(from: string, to: string): (name: Buffer) => Buffer {
  const [old, now] = [from === "/" ? "" : from, to].map((text) => Buffer.from(text).toString("latin1"));
  return (name) => {
    const text = name.toString("latin1");
    const at = text.indexOf(old!);
    return at < 0 ? name : Buffer.from(`${text.slice(0, at)}${now}${text.slice(at + old!.length)}`, "latin1");
  };
}
