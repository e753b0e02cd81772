import { invalid } from "../../base/errors.ts";
import { didYouMean } from "../../base/nearest.ts";
import type { Rule } from "./rule.ts";
import { rules } from "./rules.ts";

/** Named sets of routes, as a socket's `allow` has them. */
export const ROUTE_SETS = [
  "read-only",
  "containers",
  "exec",
  "files",
  "images",
  "volumes",
  "networks",
  "prune",
  "all",
] as const;
export type RouteSet = (typeof ROUTE_SETS)[number];

/** Patterns that a word of `allow` stands for. Throws invalid with the nearest known word. */
export function routesOf(word: string, at: string): string[] {
  const patterns = Object.keys(rules);
  if (word === "all") return patterns;
  const inSet = patterns.filter((pattern) => (ruleOf(pattern)!.sets as readonly string[]).includes(word));
  if (inSet.length > 0) return inSet;
  const single = word.replace(/\{[^/}]*\}/g, "*");
  if (ruleOf(single)) return [single];
  const known = [...ROUTE_SETS, ...patterns];
  throw invalid(`${at}: allow: there is no ${JSON.stringify(word.slice(0, 100))}${didYouMean(word, known)}`);
}

export function ruleOf(pattern: string): Rule | undefined {
  return Object.hasOwn(rules, pattern) ? rules[pattern] : undefined;
}
