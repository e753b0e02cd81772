import { posix } from "node:path";
import { notFound } from "../../../base/errors.ts";
import { isDirectory } from "../../../layers/merged.ts";
import * as k from "../../../linux/constants.ts";
import { close, readdir, type Stat, statat } from "../../../linux/file.ts";
import { Glob } from "../../dockerfile/glob.ts";
import { IgnoreRules } from "../../dockerfile/ignore.ts";
import type { OpenRoot } from "./roots.ts";

/** A source as COPY names it, found. Paths are "binary" strings from the root. */
export interface Source {
  /** As matched: where its name comes from. */
  readonly named: string;
  /** With symlinks followed. */
  readonly path: string;
  readonly stat: Stat;
  /** `--parents`: names of the directories to make, each with where it is in the root. */
  readonly parents: readonly { readonly name: string; readonly path: string }[];
}

/** A file below a source; `inside` is its path from there. A directory comes before what is in it. */
export interface Below {
  readonly inside: string;
  readonly path: string;
  readonly stat: Stat;
}

const WILD = /[*?[\\]/;

/**
 * The files that `paths` name, wildcards (Go's filepath.Match) expanded and sorted. A path without wildcards that is not
 * there is notFound; one with wildcards may match nothing.
 */
export function* select(root: OpenRoot, paths: readonly string[], parents: boolean): Generator<Source> {
  for (const written of paths) {
    // `/./` says from where on --parents keeps directories.
    const [before, after] = parents ? split(written) : [written, ""];
    const pattern = binary(posix.normalize(`/${before}/${after}`)).replace(/(?<=.)\/$/, "");
    const wild = WILD.test(pattern);
    const matches = wild ? expand(root, "/", namesOf(pattern)) : [pattern];
    const kept = parents ? namesOf(posix.normalize(`/${before}`)).length : 0;
    let found = false;
    for (const named of matches) {
      const file = root.find(named);
      if (!file) continue;
      found = true;
      yield { named, ...file, parents: parents && after !== "" ? above(named, kept) : [] };
    }
    if (!found && !wild) throw notFound(`${JSON.stringify(posix.normalize(`/${written}`))}: not found`);
  }
}

function split(written: string): [string, string] {
  const at = `/${written}`.indexOf("/./");
  return at < 0 ? ["", written] : [`/${written}`.slice(0, at), `/${written}`.slice(at + 3)];
}

/** The directories of a path after the first `kept` names. */
function above(named: string, kept: number): Source["parents"] {
  const names = namesOf(named);
  return names.slice(kept, -1).map((name, i) => ({ name, path: `/${names.slice(0, kept + i + 1).join("/")}` }));
}

function expand(root: OpenRoot, directory: string, [pattern, ...rest]: readonly string[]): string[] {
  if (pattern === undefined) return [directory];
  let names: string[];
  if (WILD.test(pattern)) {
    const glob = Glob.path(text(pattern), false);
    names = list(root, directory).filter((name) => glob.matches(text(name)));
  } else names = [pattern];
  return names.flatMap((name) => {
    const path = posix.join(directory, name);
    if (!root.find(path)) return [];
    return rest.length === 0 ? [path] : expand(root, path, rest);
  });
}

/** Names in a directory, symlinks to it followed, sorted by bytes; none when it is none. */
function list(root: OpenRoot, path: string): string[] {
  const found = root.find(path);
  if (!found || !isDirectory(found.stat)) return [];
  const fd = root.open(found.path, k.O_RDONLY | k.O_DIRECTORY);
  try {
    return Array.from(readdir(fd), ({ name }) => name.toString("latin1")).sort();
  } finally {
    close(fd);
  }
}

/** All that is below a source's directory and not excluded, sorted by bytes. */
export function* walk(root: OpenRoot, top: string, rules: IgnoreRules, inside = ""): Generator<Below> {
  const fd = root.open(posix.join(top, inside), k.O_RDONLY | k.O_DIRECTORY);
  let entries: { name: string; stat: Stat }[];
  try {
    entries = Array.from(readdir(fd), ({ name }) => ({ name: name.toString("latin1"), stat: statat(fd, name) }));
  } finally {
    close(fd);
  }
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const { name, stat } of entries) {
    const one = inside === "" ? name : `${inside}/${name}`;
    const excluded = !rules.empty && rules.excludes(text(one));
    if (!excluded) yield { inside: one, path: posix.join(top, one), stat };
    if (isDirectory(stat) && (!excluded || rules.mayContain(text(one)))) yield* walk(root, top, rules, one);
  }
}

/** Whether a source that is a file is left out by its own name. */
export const excludesFile = (rules: IgnoreRules, named: string) => rules.excludes(text(posix.basename(named)));

export const rulesOf = (excludes: readonly string[]) => IgnoreRules.of(excludes);

const namesOf = (path: string) => path.split("/").filter(Boolean);
export const binary = (path: string) => Buffer.from(path).toString("latin1");
const text = (path: string) => Buffer.from(path, "latin1").toString();
