import { describe, expect, test } from "bun:test";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

/** Every method and path of the Engine API (1.55); `X` is the name of nothing. */
const ROUTES = `
GET /_ping | HEAD /_ping | GET /version | GET /info | POST /session | POST /grpc
GET /distribution/X/json
GET /containers/json | POST /containers/create | GET /containers/X/json | GET /containers/X/top | GET /containers/X/logs
GET /containers/X/changes | GET /containers/X/export | GET /containers/X/stats | POST /containers/X/resize
POST /containers/X/start | POST /containers/X/stop | POST /containers/X/restart | POST /containers/X/kill
POST /containers/X/update | POST /containers/X/rename | POST /containers/X/pause | POST /containers/X/unpause
POST /containers/X/attach | GET /containers/X/attach/ws | POST /containers/X/wait | DELETE /containers/X
HEAD /containers/X/archive | GET /containers/X/archive | PUT /containers/X/archive | POST /containers/prune
POST /containers/X/exec | POST /exec/X/start | POST /exec/X/resize | GET /exec/X/json | POST /commit
GET /containers/X/checkpoints | POST /containers/X/checkpoints | DELETE /containers/X/checkpoints/Y
GET /images/json | POST /images/create | GET /images/X/json | GET /images/X/attestations | GET /images/X/history
POST /images/X/push | POST /images/X/tag | DELETE /images/X | GET /images/search | POST /images/prune
GET /images/X/get | GET /images/get | POST /images/load | POST /build | POST /build/prune | POST /build/cancel
GET /volumes | POST /volumes/create | GET /volumes/X | PUT /volumes/X | DELETE /volumes/X | POST /volumes/prune
GET /networks | GET /networks/X | POST /networks/create | POST /networks/X/connect | POST /networks/X/disconnect
DELETE /networks/X | POST /networks/prune | POST /auth | GET /system/df
GET /plugins | GET /plugins/privileges | POST /plugins/pull | GET /plugins/X/json | DELETE /plugins/X
POST /plugins/X/enable | POST /plugins/X/disable | POST /plugins/X/upgrade | POST /plugins/X/push
POST /plugins/X/set | POST /plugins/create
GET /swarm | POST /swarm/init | POST /swarm/join | POST /swarm/leave | POST /swarm/update | POST /swarm/unlock
GET /swarm/unlockkey | GET /nodes | GET /nodes/X | DELETE /nodes/X | POST /nodes/X/update
GET /services | POST /services/create | GET /services/X | DELETE /services/X | POST /services/X/update
GET /services/X/logs | GET /tasks | GET /tasks/X | GET /tasks/X/logs
GET /secrets | POST /secrets/create | GET /secrets/X | DELETE /secrets/X | POST /secrets/X/update
GET /configs | POST /configs/create | GET /configs/X | DELETE /configs/X | POST /configs/X/update
`
  .trim()
  .split(/\s*[|\n]\s*/);

describe.skipIf(why !== "")(`the API's routes${why && ` (${why})`}`, () => {
  const engine = engineForTests();

  test.each(ROUTES)("%s is known", async (route) => {
    const [method, path] = route.split(" ") as [string, string];
    const answer = await engine.api(method, path);
    const text = await answer.text();
    expect(text).not.toContain("page not found");
    expect(answer.status).not.toBe(500);
    if (method === "HEAD") return expect(text).toBe("");
    if (answer.status < 400) return;
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(JSON.parse(text)).toEqual({ message: expect.stringMatching(/^\S.{8,}$/) });
  });

  test.each([
    ["GET", "/nodes", 503, "This node is not a swarm manager."],
    ["POST", "/services/create", 503, "This node is not a swarm manager."],
    ["POST", "/swarm/init", 501, "swarm is not supported"],
    ["POST", "/build?version=2", 501, "BuildKit"],
    ["GET", "/images/search", 400, "a search needs a term"],
    ["GET", "/images/search?term=127.0.0.1:1/x&limit=101", 400, "limit 101 is outside the range of [1, 100]"],
    ["GET", "/images/search?term=127.0.0.1:1/x&filters=" + encodeURIComponent('{"stars":["many"]}'), 400, "stars=many"],
    ["GET", "/images/search?term=http://127.0.0.1/x", 400, "invalid repository name"],
    ["POST", "/images/create?fromSrc=file:///etc/passwd&repo=x", 400, "URLs of http and https are understood"],
    ["GET", "/images/x/attestations", 501, "attestations of images are not supported yet"],
    ["POST", "/plugins/a/b:latest/enable", 501, "plugins are not supported"],
    ["GET", "/containers/a/b/json", 404, "No such container: a/b"],
    ["GET", "/containers/a%2Fb/json", 404, "No such container: a/b"],
    ["GET", "/containers//a/json", 404, "No such container: /a"],
    ["GET", "/images/a/b/c/json", 404, "No such image: a/b/c:latest"],
  ])("%s %s: %d %s", async (method, path, status, message) => {
    const answer = await engine.api(method, path);
    expect({ status: answer.status, body: await answer.json() }).toEqual({
      status,
      body: { message: expect.stringContaining(message) },
    });
  });

  test.each([
    ["GET", "/nothing"],
    ["GET", "/"],
    ["PUT", "/containers/create"],
    ["POST", "/version"],
    ["HEAD", "/containers/json"],
    ["GET", "/containers"],
    ["GET", "/containers/x/nothing"],
    ["PATCH", "/_ping"],
  ])("%s %s is docker's 404", async (method, path) => {
    const answer = await engine.api(method, path);
    expect(answer.status).toBe(404);
    expect(await answer.text()).toBe(method === "HEAD" ? "" : '{"message":"page not found"}\n');
  });

  test("OPTIONS is 200 everywhere, and all answers have docker's headers", async () => {
    for (const [method, path] of [
      ["OPTIONS", "/containers/x/json"],
      ["OPTIONS", "/nothing"],
      ["GET", "/_ping"],
      ["GET", "/nothing"],
    ] as const) {
      const { status, headers } = await engine.api(method, path);
      if (method === "OPTIONS") expect(status).toBe(200);
      expect(headers.get("api-version")).toBe("1.55");
      expect(headers.get("ostype")).toBe("linux");
      expect(headers.get("docker-experimental")).toMatch(/^(true|false)$/);
      expect(headers.get("server")).toMatch(/^inro\/\S+ \(linux\)$/);
    }
  });

  test("versions", async () => {
    const get = (path: string) => fetch(`http://inro${path}`, { unix: engine.socket });
    for (const path of ["/_ping", "/v1.24/_ping", "/v1.40/_ping", "/v1.55/_ping"]) {
      expect((await get(path)).status).toBe(200);
    }
    const tooNew = await get("/v1.56/version");
    expect(tooNew.status).toBe(400);
    expect(((await tooNew.json()) as { message: string }).message).toBe(
      "client version 1.56 is too new. Maximum supported API version is 1.55",
    );
    const tooOld = await get("/v1.23/version");
    expect(tooOld.status).toBe(400);
    expect(((await tooOld.json()) as { message: string }).message).toContain("client version 1.23 is too old");
    // Clients of that time read errors as text.
    const ancient = await get("/v1.18/version");
    expect(ancient.headers.get("content-type")).toContain("text/plain");
    expect(await ancient.text()).toStartWith("client version 1.18 is too old");
    expect((await get("/v1.x/version")).status).toBe(404);
  });
});
