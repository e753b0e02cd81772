import { describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`the API's statuses${why && ` (${why})`}`, async () => {
  if (why) return;
  const engine = engineForTests();
  const text = (value: string) => new TextEncoder().encode(value);
  const json = { "Content-Type": "application/json" };

  const requests: [number, string, string, unknown, Record<string, string>?][] = [
    [400, "POST", "/containers/create", text("{"), json],
    [400, "POST", "/containers/create", text(""), json],
    [400, "POST", "/containers/create", text('{"Image":"busybox"} trailing'), json],
    [400, "POST", "/containers/create", text("[]"), json],
    [400, "POST", "/containers/create", text("null"), json],
    [400, "POST", "/containers/create", text('{"Image":"busybox"}'), { "Content-Type": "text/plain" }],
    [400, "POST", "/containers/create", { Image: 7 }],
    [400, "POST", "/containers/create", { Image: "busybox", Cmd: { a: 1 } }],
    [400, "POST", "/containers/create", { Image: "busybox", HostConfig: "x" }],
    [400, "POST", "/containers/create", { Image: "busybox", HostConfig: { Memory: -5 } }],
    [400, "POST", "/containers/create", { Image: "busybox", Env: ["A\0B=1"] }],
    [400, "POST", "/containers/create?name=%2e%2e%2fx", { Image: "busybox" }],
    [400, "POST", "/containers/create", { Image: "not a reference" }],
    [404, "POST", "/containers/create", { Image: "nope" }],
    // A 404 would have the client pull the image.
    [400, "POST", "/containers/create", { Image: "busybox", HostConfig: { NetworkMode: "nope" } }],
    [400, "POST", "/containers/create", { Image: "busybox", HostConfig: { Links: ["nope:x"] } }],
    [400, "POST", "/containers/create", { Image: "busybox", HostConfig: { VolumesFrom: ["nope"] } }],
    [400, "POST", "/containers/create", { Image: "busybox", HostConfig: { VolumeDriver: "nope", Binds: ["nope:/v"] } }],
    [404, "GET", "/containers/nope/json", undefined],
    [404, "POST", "/containers/nope/start", undefined],
    [404, "DELETE", "/containers/nope", undefined],
    [404, "GET", "/images/nope/json", undefined],
    [404, "POST", "/exec/nope/start", {}],
    [404, "GET", "/nonsense", undefined],
    [404, "PATCH", "/containers/json", undefined],
    [400, "GET", "/containers/json?filters=%7B", undefined],
    [400, "GET", "/containers/json?filters=%7B%22nope%22%3A%5B%22x%22%5D%7D", undefined],
    [400, "GET", "/containers/json?limit=many", undefined],
    [400, "GET", "/containers/%zz/json", undefined],
  ];
  test.each(requests.map((request) => [request] as const))("%p", async ([status, method, path, body, headers]) => {
    const answer = await engine.api(method, path, body, headers);
    const answered = await answer.text();
    expect({ status: answer.status, answered }).toEqual({ status, answered: expect.any(String) });
    expect(answer.headers.get("content-type")).toContain("application/json");
    const { message } = JSON.parse(answered) as { message: string };
    expect(message.length).toBeGreaterThan(5);
    expect(message).not.toMatch(/\n|\bat .*\.ts:|undefined|\[object/);
  });

  test("304, 409, 400 of a container's life", async () => {
    const create = (name: string) =>
      engine.api("POST", `/containers/create?name=${name}`, { Image: "busybox", Cmd: ["sleep", "1000"] });
    const { Id } = (await (await create("life")).json()) as { Id: string };
    const status = async (method: string, path: string, body?: unknown) =>
      (await engine.api(method, `/containers/${Id}${path}`, body)).status;
    expect((await create("life")).status).toBe(409);
    expect(await status("POST", "/stop")).toBe(304);
    expect(await status("POST", "/kill")).toBe(409);
    expect(await status("POST", "/exec", { Cmd: ["true"] })).toBe(409);
    expect(await status("POST", "/start")).toBe(204);
    expect(await status("POST", "/start")).toBe(304);
    expect(await status("DELETE", "")).toBe(409);
    expect(await status("POST", "/kill?signal=NOPE")).toBe(400);
    expect(await status("POST", "/resize?h=x&w=1")).toBe(400);
    expect(await status("POST", "/exec", { Cmd: [] })).toBe(400);
    expect(await status("POST", "/unpause")).toBe(409);
    expect(await status("POST", "/pause")).toBe(204);
    expect(await status("POST", "/pause")).toBe(409);
    expect(await status("POST", "/wait?condition=never")).toBe(400);
    expect(await status("GET", "/logs")).toBe(400);
    expect(await status("DELETE", "?force=1")).toBe(204);
    expect(await status("GET", "/json")).toBe(404);
  });

  test("versions: too new and too old are refused, none is the newest", async () => {
    const get = (path: string) => fetch(`http://inro${path}`, { unix: engine.socket });
    expect((await get("/_ping")).headers.get("api-version")).toBe("1.55");
    expect((await get("/v1.24/_ping")).status).toBe(200);
    for (const [version, words] of [
      ["9.99", "too new"],
      ["1.10", "too old"],
    ]) {
      const answer = await get(`/v${version}/version`);
      expect(answer.status).toBe(400);
      expect(await answer.text()).toContain(words!);
    }
  });

  test("bytes that are no HTTP, a header without end, a body that breaks off: a 400 or an end, and the engine goes on", async () => {
    const send = (bytes: string | Uint8Array, end: boolean) =>
      new Promise<string>((resolve) => {
        let answer = "";
        const socket = connect(engine.socket, () => (end ? socket.end(bytes) : socket.write(bytes)));
        socket.on("data", (chunk) => {
          answer += chunk;
        });
        socket.on("error", () => {});
        socket.on("close", () => resolve(answer));
      });
    expect(await send("\x16\x03\x01 this is no HTTP\r\n\r\n", true)).toMatch(/^(HTTP\/1.1 400|$)/);
    expect(await send(crypto.getRandomValues(new Uint8Array(4096)), true)).toMatch(/^(HTTP\/1.1 4|$)/);
    expect(await send(`GET /_ping HTTP/1.1\r\nHost: x\r\nX: ${"y".repeat(2 << 20)}\r\n\r\n`, false)).toMatch(
      /^(HTTP\/1.1 4|$)/,
    );
    await send(
      'POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"Image"',
      true,
    );
    const huge = await engine.api(
      "POST",
      "/containers/create",
      text(`{"Image":"busybox","Env":["${"x".repeat(5 << 20)}"]}`),
      json,
    );
    expect(huge.status).toBe(400);
    expect(await (await engine.api("GET", "/_ping")).text()).toBe("OK");
    expect(await engine.ok("ps", "-aq")).toBe("");
  });
});
