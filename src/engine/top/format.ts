import { invalid } from "../../base/errors.ts";
import { nearest } from "../../base/nearest.ts";
import { COLUMNS, type Column } from "./columns.ts";

const named = (...names: string[]): Column[] => names.map((name) => COLUMNS[name]!);
const titled = (name: string, title: string): Column => ({ ...COLUMNS[name]!, title });

/** Without options: `ps`. */
const SIMPLE = [...named("pid"), titled("tty", "TTY"), ...named("time", "cmd")];
const FULL = [
  titled("user", "UID"),
  ...named("pid", "ppid", "c", "stime"),
  titled("tty", "TTY"),
  ...named("time", "cmd"),
];
const USER = [
  ...named("user", "pid", "%cpu", "%mem", "vsz", "rss"),
  titled("tty", "TTY"),
  ...named("stat", "bsdstart", "bsdtime", "command"),
];
const JOBS = [...named("pid", "pgid", "sid"), titled("tty", "TTY"), ...named("time", "cmd")];

/** By letter, with a dash before the word and without. What selects processes, or widens lines, changes nothing here. */
const UNIX: Record<string, Column[] | null> = { e: null, A: null, a: null, d: null, w: null, f: FULL, j: JOBS };
const BSD: Record<string, Column[] | null> = { a: null, x: null, e: null, w: null, u: USER };

const MAX_ARGS = 32;
const MAX_COLUMNS = 64;

/**
 * The columns that ps(1) would print with these arguments: `-ef`, `aux`, `-o pid,comm=NAME`, and what is made of them.
 * Invalid for an option or a column that is not there.
 */
export function psColumns(args: string): Column[] {
  const words = args.split(/\s+/).filter((word) => word !== "");
  if (words.length > MAX_ARGS) throw invalid("too many arguments for ps");
  let chosen: Column[] | undefined;
  const own: Column[] = [];
  while (words.length > 0) {
    const word = words.shift()!;
    // `-aux` and `-axo` are what people write for `aux` and `axo`.
    const dashed = word.startsWith("-") && !/^-au?x/.test(word);
    const letters = word.replace(/^-/, "");
    for (let i = 0; i < letters.length; i++) {
      const letter = letters[i]!;
      if (letter === "o") {
        const list = letters.slice(i + 1).replace(/^=/, "") || words.shift();
        if (list === undefined) throw invalid("ps: option o needs a list of columns, such as pid,user,cmd");
        own.push(...ownColumns(list));
        break;
      }
      const known = dashed ? UNIX : BSD;
      if (!Object.hasOwn(known, letter)) {
        throw invalid(`ps: option ${dashed ? "-" : ""}${letter} is not supported; use -ef, aux, or -o with columns`);
      }
      chosen = known[letter] ?? chosen;
    }
  }
  const columns = own.length > 0 ? own : (chosen ?? SIMPLE);
  if (columns.length > MAX_COLUMNS) throw invalid(`ps: more than ${MAX_COLUMNS} columns`);
  return columns;
}

/** `pid,user=OWNER`: a title goes to the end of its word. */
function ownColumns(list: string): Column[] {
  return list.split(",").map((entry) => {
    const [name = "", title] = entry.split("=");
    const column = Object.hasOwn(COLUMNS, name) ? COLUMNS[name] : undefined;
    if (!column) {
      const near = nearest(name, Object.keys(COLUMNS));
      throw invalid(`ps: no column ${JSON.stringify(name.slice(0, 64))}${near ? `, did you mean ${near}?` : ""}`);
    }
    return title === undefined ? column : { ...column, title };
  });
}
