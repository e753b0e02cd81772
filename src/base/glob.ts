/** One step of a compiled pattern. `separator` is what `one` and `star` do not match. */
type Token =
  | { readonly kind: "char"; readonly char: number }
  | { readonly kind: "one" | "star" | "all" | "enter" | "dirs" }
  | { readonly kind: "class"; readonly negated: boolean; readonly ranges: readonly (readonly [number, number])[] };

/** The code points of a text, as patterns are matched on. */
export const codes = (text: string) => Array.from(text, (char) => char.codePointAt(0)!);

/** A pattern that is none, or takes too long. */
export class BadPattern extends Error {
  override name = "BadPattern";
  constructor(pattern: string, problem = "syntax error in pattern") {
    super(`${problem} ${JSON.stringify(pattern.slice(0, 120))}`);
  }
}

const SLASH = 47;
/** Steps one search may take: a bound for patterns of a megabyte on values of a megabyte. */
const MOST_STEPS = 1 << 26;

/**
 * A wildcard pattern that matches by following all its states at once: no pattern makes it slower than the product of
 * both lengths, which no backtracking expression promises.
 */
export class Glob {
  private steps = 0;
  private constructor(
    private readonly pattern: string,
    private readonly tokens: readonly Token[],
    private readonly separator: number,
  ) {}

  /**
   * `filepath.Match` of Go: `*` `?` `[a-z]` `[^a]` `\x`. With `doubleStar` also `**` of moby/patternmatcher: any number
   * of directories. Throws BadPattern.
   */
  static path(pattern: string, doubleStar: boolean): Glob {
    const tokens: Token[] = [];
    const points = codes(pattern);
    for (let at = 0; at < points.length; at++) {
      const char = points[at]!;
      if (char === 42) {
        if (!doubleStar || points[at + 1] !== 42) {
          if (tokens.at(-1)?.kind !== "star") tokens.push({ kind: "star" });
          continue;
        }
        at++;
        if (points[at + 1] === SLASH) at++;
        if (at + 1 === points.length) tokens.push({ kind: "all" });
        else tokens.push({ kind: "enter" }, { kind: "dirs" });
      } else if (char === 63) tokens.push({ kind: "one" });
      else if (char === 91) {
        const [token, end] = bracket(points, at + 1, pattern);
        tokens.push(token);
        at = end;
      } else if (char === 92) {
        if (++at === points.length) throw new BadPattern(pattern);
        tokens.push({ kind: "char", char: points[at]! });
      } else tokens.push({ kind: "char", char });
    }
    return new Glob(pattern, tokens, SLASH);
  }

  /** The pattern of `${v#p}` and `${v/p/r}`: `*` and `?` (no newline), `\*` `\?` `\\` `\}` `\/`. Throws BadPattern. */
  static shell(pattern: string, reversed = false): Glob {
    const tokens: Token[] = [];
    const points = codes(pattern);
    for (let at = 0; at < points.length; at++) {
      const char = points[at]!;
      if (char === 42) {
        if (tokens.at(-1)?.kind !== "star") tokens.push({ kind: "star" });
      } else if (char === 63) tokens.push({ kind: "one" });
      else if (char === 92) {
        const next = points[++at];
        if (next === undefined || !"*?\\}/".includes(String.fromCodePoint(next))) throw new BadPattern(pattern);
        tokens.push({ kind: "char", char: next });
      } else tokens.push({ kind: "char", char });
    }
    return new Glob(pattern, reversed ? tokens.reverse() : tokens, 10);
  }

  /** Whether the whole of `text` matches. Throws BadPattern when that takes too many steps. */
  matches(text: string): boolean {
    this.steps = 0;
    return this.ends(codes(text), 0, "whole") !== undefined;
  }

  /** Whether `path` or a directory above it matches, in one pass. Throws BadPattern as above. */
  matchesWithin(path: string): boolean {
    this.steps = 0;
    return this.ends(codes(path), 0, "directory") !== undefined;
  }

  /** Where a match that starts at `from` ends: the nearest, the farthest, or only the end of `points`. */
  ends(
    points: readonly number[],
    from: number,
    want: "shortest" | "longest" | "whole" | "directory",
  ): number | undefined {
    const { tokens } = this;
    let now: number[] = [];
    const mark = new Int32Array(tokens.length + 1).fill(-1);
    let found: number | undefined;
    const add = (list: number[], state: number, at: number) => {
      for (let s = state; ; s++) {
        if (mark[s] === at) return;
        mark[s] = at;
        list.push(s);
        const kind = tokens[s]?.kind;
        if (kind === "enter") add(list, s + 2, at);
        else if (kind !== "star" && kind !== "all") return;
        if (kind === "enter" && mark[s + 1] === at) return;
      }
    };
    add(now, 0, from);
    for (let at = from; ; at++) {
      if (
        mark[tokens.length] === at &&
        (want === "shortest" ||
          want === "longest" ||
          at === points.length ||
          (want === "directory" && points[at] === SLASH))
      ) {
        found = at;
        if (want !== "longest") return found;
      }
      if (at === points.length || now.length === 0) return found;
      this.steps += now.length;
      if (this.steps > MOST_STEPS) throw new BadPattern(this.pattern, "too costly for this value: the pattern");
      const next: number[] = [];
      const char = points[at]!;
      for (const s of now) {
        const token = tokens[s];
        if (!token) continue;
        if (token.kind === "char") {
          if (token.char === char) add(next, s + 1, at + 1);
        } else if (token.kind === "one") {
          if (char !== this.separator) add(next, s + 1, at + 1);
        } else if (token.kind === "star") {
          if (char !== this.separator) add(next, s, at + 1);
        } else if (token.kind === "all") add(next, s, at + 1);
        else if (token.kind === "dirs") {
          add(next, s, at + 1);
          if (char === SLASH) add(next, s + 1, at + 1);
        } else if (token.kind === "class") {
          if (token.ranges.some(([low, high]) => low <= char && char <= high) !== token.negated)
            add(next, s + 1, at + 1);
        }
      }
      now = next;
    }
  }
}

/** The class after `[`, and the position of its `]`. */
function bracket(points: readonly number[], start: number, pattern: string): [Token, number] {
  let at = start;
  const negated = points[at] === 94;
  if (negated) at++;
  const ranges: [number, number][] = [];
  const one = () => {
    if (points[at] === 92) at++;
    else if (points[at] === 45 || points[at] === 93) throw new BadPattern(pattern);
    const char = points[at++];
    // Go wants something after each character of a class: at least the bracket.
    if (char === undefined || at >= points.length) throw new BadPattern(pattern);
    return char;
  };
  while (points[at] !== 93 || ranges.length === 0) {
    const low = one();
    let high = low;
    if (points[at] === 45) {
      at++;
      high = one();
    }
    ranges.push([low, high]);
  }
  return [{ kind: "class", negated, ranges }, at];
}

/** `filepath.Match` of Go on slashes. Throws BadPattern. */
export function goMatch(pattern: string, path: string): boolean {
  return Glob.path(pattern, false).matches(path);
}
