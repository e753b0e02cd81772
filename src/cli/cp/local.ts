import { lstatSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { posix } from "node:path";
import { Extractor } from "../../archive/extract.ts";
import { pack } from "../../archive/pack.ts";
import { namesContents, splitEntry } from "../../archive/path.ts";
import { codeOf } from "../../base/errors.ts";
import * as k from "../../linux/constants.ts";
import { close, openat } from "../../linux/file.ts";
import { ExitError } from "../command.ts";
import { type Destination, followed, type Source } from "./plan.ts";

/** What a path of ours is as a source; `follow`: a symlink at its end is what it leads to. */
export function localSource(path: string, follow: boolean): Source {
  const { path: found, rebase } = follow ? followed(path, realpath(path)) : asWritten(path);
  const stat = lstatSync(found, { throwIfNoEntry: false });
  if (!stat) throw new ExitError(1, `lstat ${path}: no such file or directory`);
  return { path: found, directory: stat.isDirectory(), rebase };
}

/** With the symlinks on the way to it resolved; a slash or `/.` at the end follows the last one too. */
function asWritten(path: string): { path: string; rebase: string | undefined } {
  if (path.endsWith("/") || namesContents(path)) return followed(path, realpath(path));
  const parent = realpath(posix.dirname(path));
  return { path: posix.join(parent, posix.basename(path)), rebase: undefined };
}

function realpath(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") throw new ExitError(1, `lstat ${path}: no such file or directory`);
    throw error;
  }
}

/** As Linux follows at most. */
const MAX_LINKS = 40;

/** What a path of ours is as a destination, a symlink followed even to what is not there yet; its directory must be. */
export function localDestination(path: string): Destination {
  let at = path;
  let stat = lstatSync(at, { throwIfNoEntry: false });
  for (let links = 0; stat?.isSymbolicLink(); links++) {
    if (links === MAX_LINKS) throw new ExitError(1, `${path}: too many levels of symbolic links`);
    const target = readlinkSync(at);
    at = posix.resolve(posix.dirname(at), target);
    stat = lstatSync(at, { throwIfNoEntry: false });
  }
  if (stat && !stat.isDirectory() && !stat.isFile()) {
    throw new ExitError(1, `destination ${JSON.stringify(path)} must be a directory or a regular file`);
  }
  if (stat) return { path: at, exists: true, directory: stat.isDirectory() };
  const { directory } = splitEntry(at);
  const parent = statSync(directory, { throwIfNoEntry: false });
  if (!parent) throw new ExitError(1, `invalid output path: directory ${JSON.stringify(directory)} does not exist`);
  if (!parent.isDirectory()) throw new ExitError(1, `${directory}: not a directory`);
  return { path: at, exists: false, directory: false };
}

/** The tar of a source; `name` replaces that of its entry. `count` hears of its bytes. */
export async function* packLocal(
  source: Source,
  name: string | undefined,
  count: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  const root = openat(k.AT_FDCWD, "/", k.O_PATH | k.O_DIRECTORY);
  try {
    for (const piece of pack({ root, path: source.path, ...(name === undefined ? {} : { name }) })) {
      count(piece.length);
      yield piece;
    }
  } finally {
    close(root);
  }
}

/** Extracts a container's tar into a directory of ours: no symlink in it is followed, whoever put it there. */
export async function extractLocal(
  tar: AsyncIterable<Uint8Array>,
  into: string,
  options: {
    rename?: ((name: Buffer) => Buffer) | undefined;
    keepOwners: boolean;
    warn(message: string): void;
    count(bytes: number): void;
  },
): Promise<void> {
  const root = openat(k.AT_FDCWD, "/", k.O_PATH | k.O_DIRECTORY);
  let extractor: Extractor | undefined;
  process.umask(0);
  try {
    extractor = new Extractor({
      root,
      into: posix.resolve(into),
      follow: false,
      owner: options.keepOwners ? "archive" : "ours",
      noOverwriteDirNonDir: true,
      warn: options.warn,
      ...(options.rename ? { rename: options.rename } : {}),
    });
    for await (const chunk of tar) {
      options.count(chunk.length);
      extractor.push(chunk);
    }
    extractor.finish();
  } finally {
    extractor?.close();
    close(root);
  }
}
