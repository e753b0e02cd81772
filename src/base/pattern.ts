/** Texts that a client's pattern is tried on are names; a longer one does not match. */
export const LONGEST_NAME = 255;

const LONGEST_PATTERN = 256;
/** Ways that a match may be tried in; some milliseconds. */
const MOST_WAYS = 4_000_000;

/**
 * A client's regular expression, unless trying it could take long: JavaScript's engine goes back for every way in which
 * repetitions and alternatives can share a text among them. undefined also for what is no expression.
 */
export function safePattern(source: string, flags = ""): RegExp | undefined {
  if (source.length > LONGEST_PATTERN) return undefined;
  const bare = source.replace(/\\[\s\S]/g, "x").replace(/\[\^?\]?[^\]]*\]/g, "x");
  // A repeated group multiplies with its own length.
  if (/\)[*+?{]/.test(bare)) return undefined;
  const repeated = bare.match(/[*+{]/g)?.length ?? 0;
  const choices = bare.replaceAll("(?", "(").match(/[?|]/g)?.length ?? 0;
  let ways = 2 ** choices;
  for (let n = 1; n <= repeated; n++) ways *= LONGEST_NAME / n;
  if (ways > MOST_WAYS) return undefined;
  try {
    return new RegExp(source, flags);
  } catch {
    return undefined;
  }
}

/** Shell patterns, of which `*` and `?` stop at a slash (Go's path.Match, without classes); in linear time a star. */
export function matchGlob(pattern: string, text: string): boolean {
  const patterns = pattern.split("/");
  const texts = text.split("/");
  return patterns.length === texts.length && patterns.every((part, i) => matchPart(part, texts[i]!));
}

function matchPart(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  /** Behind the last star, and where the text that it stands for ends so far. */
  let star = -1;
  let from = 0;
  while (t < text.length) {
    if (pattern[p] === "*") {
      star = ++p;
      from = t;
    } else if (p < pattern.length && (pattern[p] === "?" || pattern[p] === text[t])) {
      p++;
      t++;
    } else if (star >= 0) {
      p = star;
      t = ++from;
    } else return false;
  }
  while (pattern[p] === "*") p++;
  return p === pattern.length;
}
