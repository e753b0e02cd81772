import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { searchRegistry } from "./search.ts";

describe("a search at a registry", () => {
  const asked: { url: URL; authorization: string | null }[] = [];
  let answer: () => Response;
  let server: Bun.Server<undefined>;
  beforeAll(() => {
    server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch(request) {
        asked.push({ url: new URL(request.url), authorization: request.headers.get("Authorization") });
        return answer();
      },
    });
  });
  afterAll(() => server.stop(true));
  const search = (words: string, limit = 25, auth?: { username: string; password: string }) =>
    searchRegistry(`127.0.0.1:${server.port}/${words}`, limit, { registries: {}, auth });

  test("asks as docker does, and answers what it found", async () => {
    const found = { name: "a/b", description: "one", star_count: 3, is_official: true, is_automated: true, more: 1 };
    answer = () => Response.json({ num_results: 2, results: [found, { name: "c" }] });
    expect(await search("some thing/x", 7, { username: "me", password: "pw" })).toEqual([
      { name: "a/b", description: "one", star_count: 3, is_official: true, is_automated: false },
      { name: "c", description: "", star_count: 0, is_official: false, is_automated: false },
    ]);
    const { url, authorization } = asked.at(-1)!;
    expect([url.pathname, url.searchParams.get("q"), url.searchParams.get("n")]).toEqual([
      "/v1/search",
      "some thing/x",
      "7",
    ]);
    expect(authorization).toBe(`Basic ${btoa("me:pw")}`);
  });

  test("no more than was asked for, and nothing that is no result", async () => {
    answer = () => Response.json({ results: [null, 1, { name: 5 }, ...Array(50).fill({ name: "x" })] });
    expect(await search("x", 10)).toHaveLength(7);
  });

  test.each([
    ["no search there", () => new Response("", { status: 404 }), "404: the registry has no search"],
    ["no JSON", () => new Response("<html>"), "no JSON"],
    ["null", () => Response.json(null), "no results"],
    ["too much", () => new Response("x".repeat(5 << 20)), "larger than"],
  ])("%s", async (_, wrong, message) => {
    answer = wrong;
    expect(await search("x").catch((error) => error.message)).toContain(message);
  });

  test.each(["", "https://x/y", "x".repeat(2000)])("the term %p is refused before anybody is asked", async (term) => {
    const error = await searchRegistry(term, 1, { registries: {} }).catch((error) => error);
    expect(error.kind).toBe("invalid");
  });
});
