import { describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { engineForTests, hasBusybox, isRoot } from "../../harness.ts";
import { fetched, type Sent, upgraded } from "./exchange.ts";
import { parseRoutes, ROUTES, type Route } from "./routes.ts";
import { nameOf, objectOf, queryOf } from "./values.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";
/** More by hand: INRO_FUZZ_RUNS=100000 INRO_FUZZ_SEED=7. */
const runs = Number(process.env.INRO_FUZZ_RUNS ?? 500);
const seed = Number(process.env.INRO_FUZZ_SEED ?? 20_261_126);

const LANES = 4;
/** Nothing that a fuzzed request asks for takes longer. */
const HANG_MS = 60_000;
interface Request extends Sent {
  /** Asks for the connection itself, whatever the route. */
  upgrade: boolean;
}

/** Those that INRO_FUZZ_ROUTES matches; all without it. */
const routes = parseRoutes(ROUTES).filter(({ method, path }) =>
  new RegExp(process.env.INRO_FUZZ_ROUTES ?? "").test(`${method} ${path}`),
);
/** Making and starting containers has to happen often for the others to meet one. */
const frequent = routes.filter(({ path }) => /create$|start$|\}\/exec$/.test(path) && path.includes("ontainer"));

function requestFor(route: Route): fc.Arbitrary<Request> {
  const names = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, kind]) => nameOf(kind!));
  const query = fc
    .subarray(route.query)
    .chain((chosen) =>
      fc.tuple(...chosen.map(({ name, type }) => queryOf(type).map((value) => [name, value] as const))),
    );
  const version = fc.constantFrom("", "", "/v1.55", "/v1.51", "/v1.43", "/v1.24");
  const upgrade = fc.integer({ min: 0, max: 7 }).map((one) => one === 0);
  return fc.record({ names: fc.tuple(...names), query, version, upgrade, sent: bodyFor(route) }).map((made) => {
    let at = 0;
    const path = route.path.replace(/\{\w+\}/g, () => encodeName(made.names[at++]!));
    // A name is always given, or containers would have too many.
    const pairs =
      route.path === "/containers/create" && made.query.length === 0 ? [["name", "fa"] as const] : made.query;
    const search = pairs.map(([name, value]) => `${name}=${encode(value)}`).join("&");
    return { route, path: `${made.version}${path}${search && `?${search}`}`, upgrade: made.upgrade, ...made.sent };
  });
}

const encode = (text: string) => encodeURIComponent(text.toWellFormed());
/** Half of them as they are, slashes and all, as some clients send them. */
const encodeName = (name: string) => (name.length % 2 === 0 ? encode(name) : encode(name).replaceAll("%2F", "/"));

function bodyFor({ body }: Route): fc.Arbitrary<Pick<Request, "body" | "headers">> {
  const json = { "Content-Type": "application/json" };
  if (body === undefined) return fc.constant({ body: undefined, headers: {} });
  if (body === "tar") {
    const bytes = fc.oneof(fc.uint8Array({ maxLength: 2000 }), fc.constant(new Uint8Array(10_240)));
    return bytes.map((one) => ({ body: one, headers: { "Content-Type": "application/x-tar" } }));
  }
  const broken = fc.constantFrom(
    "",
    "{",
    "[]",
    "null",
    "7",
    '{"a":1} x',
    `{"a":${"[".repeat(20_000)}`,
    "\0",
    '{"Image":',
  );
  return fc.oneof(
    { weight: 20, arbitrary: objectOf(body).map((value) => ({ body: JSON.stringify(value), headers: json })) },
    broken.map((one) => ({ body: one, headers: json })),
    fc.constant({ body: "x=1", headers: { "Content-Type": "application/x-www-form-urlencoded" } }),
  );
}

describe.skipIf(why !== "")(`fuzzed requests${why && ` (${why})`}`, () => {
  // Nothing may leave the machine: the engine has a network namespace of its own, and asks a closed port for images.
  const engine = engineForTests(["--registry-mirror", "http://127.0.0.1:1"], { networks: true });
  const execs: string[] = [];
  const failures: string[] = [];

  async function send(request: Request): Promise<void> {
    const { route, headers } = request;
    const path = request.path
      .replace("/exec/nope/", () => `/exec/${execs[execs.length >> 1] ?? "nope"}/`)
      .replaceAll("%7Bdir%7D", encodeURIComponent(engine.dir));
    const body = typeof request.body === "string" ? request.body.replaceAll("{dir}", engine.dir) : request.body;
    const shown = `${request.upgrade ? "upgrade: " : ""}${route.method} ${path.slice(0, 300)}`;
    const where = `${shown} ${typeof body === "string" ? body.slice(0, 1500) : ""}`;
    const leave = new AbortController();
    const hang = setTimeout(() => {
      failures.push(`hangs: ${where}`);
      leave.abort();
    }, HANG_MS);
    try {
      const exchange = request.upgrade ? upgraded : fetched;
      const { status, text } = await exchange(engine.socket, { route, path, body, headers }, leave);
      if (status >= 500 && status !== 501 && status !== 503) failures.push(`${status} ${text}: ${where}`);
      if (status >= 400) check(status, text, route, where);
      if (status === 201 && path.includes("/exec")) execs.push((JSON.parse(text) as { Id: string }).Id);
    } catch (error) {
      if (!leave.signal.aborted) failures.push(`${(error as Error).message}: ${where}`);
    } finally {
      clearTimeout(hang);
    }
  }

  function check(status: number, text: string, { method }: Route, where: string): void {
    if (method === "HEAD") return;
    try {
      const { message } = JSON.parse(text) as { message: string };
      if (message.length > 3 && !/\bat .*\.ts:\d|undefined|\[object|NaN/.test(message)) return;
    } catch {}
    failures.push(`${status}, but no message of docker's form, ${JSON.stringify(text.slice(0, 300))}: ${where}`);
  }

  async function round(count: number, roundSeed: number): Promise<void> {
    const which = fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom(...routes) },
      ...(frequent.length > 0 ? [{ weight: 2, arbitrary: fc.constantFrom(...frequent) }] : []),
    );
    const requests = fc.sample(which.chain(requestFor), { numRuns: count, seed: roundSeed });
    let next = 0;
    const lane = async () => {
      while (next < requests.length && failures.length === 0) await send(requests[next++]!);
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    if (failures.length > 0) throw new Error(`seed ${roundSeed}:\n${failures.join("\n")}\n${engine.log.slice(-2000)}`);
    await tidy();
  }

  /** All that the round made goes away again. */
  async function tidy(): Promise<void> {
    const list = async (path: string) => (await (await engine.api("GET", path)).json()) as never;
    for (const { Id } of (await list("/containers/json?all=1")) as { Id: string }[]) {
      const { status } = await engine.api("DELETE", `/containers/${Id}?force=1&v=1`);
      expect([204, 404, 409]).toContain(status);
    }
    expect(await list("/containers/json?all=1")).toEqual([] as never);
    for (const { Id, Name } of (await list("/networks")) as { Id: string; Name: string }[]) {
      if (["bridge", "host", "none"].includes(Name)) continue;
      expect((await engine.api("DELETE", `/networks/${Id}`)).status).toBe(204);
    }
    for (const { Name } of ((await list("/volumes")) as { Volumes: { Name: string }[] }).Volumes ?? []) {
      expect((await engine.api("DELETE", `/volumes/${encodeURIComponent(Name)}`)).status).toBe(204);
    }
  }

  const descriptors = () => readdirSync(`/proc/${engine.pid}/fd`).length;
  const resident = () => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${engine.pid}/status`, "utf8"))![1]) >> 10;

  test(`${runs} of seed ${seed}: no 500, no crash, no hang, nothing left`, async () => {
    for (const name of ["b1", "b2", "bound"]) mkdirSync(join(engine.dir, name), { recursive: true });
    const pid = engine.pid;
    const each = 500;
    await round(Math.min(runs, each), seed);
    const before = { fds: descriptors(), memory: resident() };
    for (let done = each, i = 1; done < runs; done += each, i++) {
      await round(each, seed + i);
      if (process.env.INRO_FUZZ_RUNS) console.log(`${done + each} requests, ${descriptors()} fds, ${resident()} MiB`);
    }
    expect(await (await engine.api("GET", "/_ping")).text()).toBe("OK");
    expect(engine.pid).toBe(pid);
    expect(descriptors()).toBeLessThanOrEqual(before.fds + 10);
    if (runs > 10 * each) expect(resident()).toBeLessThan(before.memory + 150);
  });

  test("random bytes as a JSON body", async () => {
    for (let i = 0; i < 50; i++) {
      const answer = await engine.api("POST", "/containers/create", new Uint8Array(randomBytes(200)), {
        "Content-Type": "application/json",
      });
      expect(answer.status).toBe(400);
      await answer.text();
    }
  });
});
