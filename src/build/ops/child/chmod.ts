import { invalid } from "../../../base/errors.ts";

const WHO: Readonly<Record<string, number>> = { u: 0o4700, g: 0o2070, o: 0o1007, a: 0o7777 };
const BITS: Readonly<Record<string, number>> = { r: 0o444, w: 0o222, x: 0o111, s: 0o6000, t: 0o1000 };
const CLAUSE = /^([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)$/;

/**
 * `--chmod`: octal, or clauses of chmod(1) (Dockerfile 1.14). The result takes a mode's permission bits (07777) and answers the new ones.
 * Anything else is invalid.
 */
export function parseChmod(text: string): (mode: number, directory: boolean) => number {
  if (/^0*[0-7]{1,4}$/.test(text)) {
    const mode = Number.parseInt(text, 8);
    return () => mode;
  }
  const clauses = text.split(",").map((clause) => {
    const [, who = "", changes] = CLAUSE.exec(clause) ?? [];
    if (changes === undefined)
      throw invalid(
        `invalid chmod parameter: '${text.slice(0, 100)}'. it should be octal string and between 0 and 07777, or clauses like u=rwX,go-w`,
      );
    const mask = [...(who || "a")].reduce((all, letter) => all | WHO[letter]!, 0);
    return {
      mask,
      changes: [...changes.matchAll(/([-+=])([rwxXstugo]*)/g)].map(([, sign, what]) => ({ sign, what: what! })),
    };
  });
  return (before, directory) => {
    let mode = before;
    for (const { mask, changes } of clauses) {
      for (const { sign, what } of changes) {
        const bits = bitsOf(what, mode, directory) & mask;
        if (sign === "+") mode |= bits;
        else if (sign === "-") mode &= ~bits;
        // What is not named is kept of a directory's setuid and setgid, as of chmod(1).
        else mode = (mode & ~(mask & (directory ? 0o1777 : 0o7777))) | bits;
      }
    }
    return mode & 0o7777;
  };
}

function bitsOf(what: string, mode: number, directory: boolean): number {
  if (/^[ugo]$/.test(what)) {
    const three = (mode >> { u: 6, g: 3, o: 0 }[what as "u" | "g" | "o"]) & 7;
    return three * 0o111;
  }
  return [...what].reduce((all, letter) => {
    if (letter === "X") return directory || (mode & 0o111) !== 0 ? all | 0o111 : all;
    return all | BITS[letter]!;
  }, 0);
}
