import { normalize } from "node:path/posix";
import { invalid } from "./errors.ts";
import { BadPattern, Glob } from "./glob.ts";

interface Rule {
  readonly exception: boolean;
  readonly pattern: string;
  readonly wild: boolean;
  /** Whether it is the path's, or that of a directory above it. */
  matches(path: string): boolean;
}

/** The patterns of a .dockerignore, cleaned, as {@link IgnoreRules.of} and BuildKit's clients take them. */
export function ignorePatterns(text: string): string[] {
  const patterns: string[] = [];
  for (const line of text.replace(/^\uFEFF/, "").split("\n")) {
    if (line.startsWith("#")) continue;
    let pattern = line.trim();
    if (pattern === "") continue;
    const exception = pattern.startsWith("!");
    if (exception) pattern = pattern.slice(1).trim();
    if (pattern !== "") pattern = clean(pattern);
    if (pattern.length > 1 && pattern.startsWith("/")) pattern = pattern.slice(1);
    patterns.push(exception ? `!${pattern}` : pattern);
  }
  return patterns;
}

/** `.dockerignore` and `--exclude`: the rules of moby/patternmatcher. Paths are relative, with slashes. */
export class IgnoreRules {
  private constructor(private readonly rules: readonly Rule[]) {}

  /** The text of a .dockerignore. Errors: invalid, with the line's pattern. */
  static parse(text: string): IgnoreRules {
    return IgnoreRules.of(ignorePatterns(text));
  }

  /** Patterns as a list, as `--exclude` gives them. */
  static of(patterns: readonly string[]): IgnoreRules {
    const rules: Rule[] = [];
    for (const given of patterns) {
      let pattern = given.trim();
      if (pattern === "") continue;
      const exception = pattern.startsWith("!");
      if (exception) pattern = pattern.slice(1);
      if (exception && pattern === "") throw invalid('illegal exclusion pattern: "!"');
      pattern = clean(pattern);
      // The reference: "for historical reasons, the pattern . is ignored".
      if (pattern === ".") continue;
      rules.push({ exception, pattern, wild: WILD.test(pattern), matches: matcher(pattern) });
    }
    return new IgnoreRules(rules);
  }

  /** Whether nothing is excluded at all. */
  get empty(): boolean {
    return this.rules.length === 0;
  }

  /** The last rule that matches `path`, or a directory above it, decides. Directories and files are treated alike. */
  excludes(path: string, _isDirectory = false): boolean {
    let excluded = false;
    const cleaned = clean(path);
    for (const rule of this.rules) {
      if (rule.exception === excluded && rule.matches(cleaned)) excluded = !rule.exception;
    }
    return excluded;
  }

  /** Whether anything below `directory` may be left in: false means that a walk can turn round. */
  mayContain(directory: string): boolean {
    if (!this.excludes(directory)) return true;
    const below = `${clean(directory)}/`;
    return this.rules.some(
      ({ exception, wild, pattern }) =>
        exception && (wild || `${pattern}/`.startsWith(below) || below.startsWith(`${pattern}/`)),
    );
  }
}

/** `filepath.Clean` of Go. */
function clean(path: string): string {
  const normal = normalize(path).replace(/^\/+/, "/");
  return normal.length > 1 && normal.endsWith("/") ? normal.slice(0, -1) : normal;
}

const WILD = /[*?[\\]/;

function matcher(pattern: string): (path: string) => boolean {
  try {
    // Go judges the pattern by filepath.Match alone, so what that refuses is refused here.
    Glob.path(pattern, false);
    const glob = Glob.path(pattern, true);
    if (!WILD.test(pattern)) return (path) => path === pattern || path.startsWith(`${pattern}/`);
    const rest = pattern.slice(3);
    if (pattern.startsWith("**/") && !WILD.test(rest)) return (path) => `/${path}/`.includes(`/${rest}/`);
    return (path) => glob.matchesWithin(path);
  } catch (error) {
    if (error instanceof BadPattern) throw invalid(`ignore file: ${error.message}`, error);
    throw error;
  }
}
