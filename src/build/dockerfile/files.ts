import type { Add, Copy } from "./ast.ts";
import { SyntaxFault } from "./error.ts";
import { type FlagKind, type Flags, readFlags } from "./flags.ts";
import { heredocMark } from "./heredoc.ts";
import type { Line } from "./lines.ts";
import { blankSeparated, jsonStrings } from "./words.ts";

const COMMON = { chown: "string", chmod: "string", link: "bool", exclude: "strings" } as const;
const ADD: Readonly<Record<string, FlagKind>> = {
  ...COMMON,
  "keep-git-dir": "bool",
  checksum: "string",
  unpack: "bool",
};
const COPY: Readonly<Record<string, FlagKind>> = { ...COMMON, from: "string", parents: "bool" };

/** ADD. Errors: SyntaxFault. */
export function parseAdd(line: Line): Omit<Add, "source" | "comment"> {
  const flags = readFlags(line.flags, ADD);
  const checksum = flags.string("checksum");
  const keepGitDir = flags.bool("keep-git-dir");
  const unpack = flags.bool("unpack");
  return {
    kind: "add",
    ...paths(line, flags, "ADD"),
    ...(checksum ? { checksum } : {}),
    ...(keepGitDir === undefined ? {} : { keepGitDir }),
    ...(unpack === undefined ? {} : { unpack }),
  };
}

/** COPY. Errors: SyntaxFault. */
export function parseCopy(line: Line): Omit<Copy, "source" | "comment"> {
  const flags = readFlags(line.flags, COPY);
  const from = flags.string("from");
  return {
    kind: "copy",
    ...paths(line, flags, "COPY"),
    ...(from ? { from } : {}),
    parents: flags.bool("parents") ?? false,
  };
}

function paths({ rest, heredocs }: Line, flags: Flags, name: string) {
  const json = jsonStrings(rest);
  const words = json ?? blankSeparated(rest);
  const destination = words.at(-1);
  if (destination === undefined) throw new SyntaxFault(`${name} requires at least one source and a destination`);
  if (words.length < 2) {
    throw new SyntaxFault(
      `${name} requires at least two arguments, but only one was provided. Destination could not be determined`,
      destination,
    );
  }
  if (!json && heredocMark(destination))
    throw new SyntaxFault(`${name} cannot accept a heredoc as a destination`, destination);
  const chown = flags.string("chown");
  const chmod = flags.string("chmod");
  return {
    // What the line opened as a heredoc is no path; in JSON form it is one.
    sources: words.slice(0, -1).filter((word) => json || !heredocMark(word)),
    heredocs,
    destination,
    ...(chown ? { chown } : {}),
    ...(chmod ? { chmod } : {}),
    link: flags.bool("link") ?? false,
    excludes: flags.strings("exclude"),
  };
}
