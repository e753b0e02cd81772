import { invalid, unavailable } from "../base/errors.ts";
import type { SearchResult } from "../spec/docker-api.ts";
import type { RegistryAuth } from "./auth.ts";
import { originOf, type Registries } from "./endpoint.ts";
import { PATIENCE, sendPatiently } from "./http.ts";

/** Docker Hub answers searches elsewhere than pulls. */
const HUB_INDEX = "https://index.docker.io";
/** Somebody waits, and nothing depends on it. */
const HASTY = { ...PATIENCE, attempts: 2, idle: 15_000 };
const MAX_ANSWER = 4 << 20;
const MAX_TERM = 1000;
export const MAX_RESULTS = 100;

/**
 * What a registry finds for a term, by the search of the old registry API (`GET /v1/search`), which is the only one there
 * is: Docker Hub has it, and some others. `[HOST/]TERM`; `limit` is 1 to {@link MAX_RESULTS}. Rejects with invalid, or
 * unavailable.
 */
export async function searchRegistry(
  term: string,
  limit: number,
  options: { registries: Registries; auth?: RegistryAuth | undefined; signal?: AbortSignal | undefined },
): Promise<SearchResult[]> {
  if (term === "" || term.length > MAX_TERM) throw invalid("a search needs a term of at most 1000 characters");
  if (term.includes("://")) {
    throw invalid(`invalid repository name (${term.slice(0, 200)}): it has a scheme, which names do not have`);
  }
  const { domain, words } = split(term);
  const { base, tls } =
    domain === undefined ? { base: HUB_INDEX, tls: undefined } : originOf(domain, options.registries);
  const url = new URL("/v1/search", base);
  url.searchParams.set("q", words);
  url.searchParams.set("n", String(limit));
  const { username, password } = options.auth ?? {};
  const basic = username ? `Basic ${Buffer.from(`${username}:${password ?? ""}`).toString("base64")}` : undefined;
  const headers = { Accept: "application/json", ...(basic ? { Authorization: basic } : {}) };
  const answer = await sendPatiently({ method: "GET", url, headers, signal: options.signal, tls }, HASTY);
  if (answer.status !== 200) {
    answer.discard();
    const why = answer.status === 404 ? ": the registry has no search" : "";
    throw unavailable(`search at ${url.host}: unexpected status code ${answer.status}${why}`);
  }
  const text = (await answer.bytes(MAX_ANSWER)).toString();
  let results: unknown;
  try {
    ({ results } = Object(JSON.parse(text)));
  } catch (error) {
    throw unavailable(`search at ${url.host}: its answer is no JSON`, error);
  }
  if (!Array.isArray(results)) throw unavailable(`search at ${url.host}: its answer has no results`);
  // It may have been asked for fewer than it gives.
  return results.slice(0, limit).flatMap((result) => {
    const { name, description, star_count, is_official } = Object(result) as Record<string, unknown>;
    if (typeof name !== "string" || name === "") return [];
    return {
      name,
      description: typeof description === "string" ? description : "",
      star_count: Number.isSafeInteger(star_count) ? (star_count as number) : 0,
      is_official: is_official === true,
      // Nobody builds for the Hub this way any more.
      is_automated: false,
    };
  });
}

/** As in references: what has a dot, a colon or is localhost before the first slash is a registry. */
function split(term: string): { domain?: string; words: string } {
  const slash = term.indexOf("/");
  const first = term.slice(0, Math.max(slash, 0));
  if (slash < 0 || !(/[.:]/.test(first) || first === "localhost") || first === "docker.io") {
    return { words: term.replace(/^(?:docker\.io\/)?(?:library\/)?/, "") };
  }
  return { domain: first, words: term.slice(slash + 1) };
}
