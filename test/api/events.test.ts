import { describe, expect, test } from "bun:test";
import { jsonStream } from "../../src/client/json-stream.ts";
import type { EventMessage } from "../../src/spec/docker-api.ts";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`events${why && ` (${why})`}`, () => {
  const engine = engineForTests();
  const now = () => String(Date.now() / 1000);
  const filters = (value: object) => `filters=${encodeURIComponent(JSON.stringify(value))}`;
  const get = (path: string, headers: Record<string, string> = {}, version = "1.55") =>
    fetch(`http://inro/v${version}${path}`, { unix: engine.socket, headers });
  /** All events of a time that is over. */
  const past = async (since: string, query = "") => {
    const answer = await get(`/events?since=${since}&until=${now()}${query && `&${query}`}`);
    const events: EventMessage[] = [];
    for await (const event of jsonStream<EventMessage>(answer.body!)) events.push(event);
    return events;
  };
  const actions = (events: EventMessage[]) => events.map(({ Type, Action }) => `${Type} ${Action}`);

  test("a container's life, in docker's order, with name, image and labels", async () => {
    const since = now();
    const ended = await engine.inro([
      "run",
      "--rm",
      "--name",
      "life",
      "--label",
      "a=b",
      "busybox",
      "sh",
      "-c",
      "exit 3",
    ]);
    expect(ended.code).toBe(3);
    const events = (await past(since)).filter(({ Type }) => Type === "container");
    expect(actions(events)).toEqual([
      "container create",
      "container attach",
      "container start",
      "container die",
      "container destroy",
    ]);
    for (const { Actor, scope, time, timeNano } of events) {
      expect(Actor.ID).toMatch(/^[0-9a-f]{64}$/);
      expect(Actor.Attributes).toMatchObject({ name: "life", image: "busybox", a: "b" });
      expect(scope).toBe("local");
      expect(Math.floor(timeNano / 1e9)).toBe(time);
    }
    const die = events.find(({ Action }) => Action === "die")!.Actor.Attributes;
    expect(die).toMatchObject({ exitCode: "3", execDuration: expect.stringMatching(/^\d+$/) });
  });

  test("operations on a container and on images", async () => {
    const since = now();
    const id = await engine.ok("run", "-d", "--name", "ops", "busybox", "sleep", "1000");
    expect((await engine.inro(["exec", "ops", "sh", "-c", "exit 4"])).code).toBe(4);
    await engine.ok("pause", "ops");
    await engine.ok("unpause", "ops");
    await engine.ok("rename", "ops", "renamed");
    expect((await engine.api("POST", `/containers/${id}/update`, { PidsLimit: 100 })).status).toBe(200);
    await engine.ok("kill", "renamed");
    await engine.ok("wait", "renamed");
    await engine.ok("rm", "renamed");
    await engine.ok("tag", "busybox", "other:tag");
    await engine.ok("rmi", "other:tag");
    expect((await engine.inro(["save", "-o", "/dev/null", "busybox"])).code).toBe(0);
    const events = await past(since);
    expect(actions(events).filter((one) => !/attach|mount|network/.test(one))).toEqual([
      "container create",
      "container start",
      "container exec_create: sh -c exit 4",
      "container exec_start: sh -c exit 4",
      "container exec_die",
      "container pause",
      "container unpause",
      "container rename",
      "container update",
      "container kill",
      "container die",
      "container destroy",
      "image tag",
      "image untag",
      "image save",
    ]);
    const attributes = (action: string) => events.find(({ Action }) => Action === action)!.Actor.Attributes;
    expect(attributes("rename")).toMatchObject({ name: "renamed", oldName: "/ops" });
    expect(attributes("kill").signal).toBe("9");
    expect(attributes("exec_die").exitCode).toBe("4");
    expect(attributes("tag").name).toBe("other:tag");
    expect(actions(await past(since, filters({ event: ["exec_create", "die"], type: ["container"] })))).toEqual([
      "container exec_create: sh -c exit 4",
      "container die",
    ]);
    expect(actions(await past(since, filters({ container: { renamed: true }, event: { pause: true } })))).toEqual([]);
    expect(actions(await past(since, filters({ container: [id.slice(0, 12)], event: ["pause"] })))).toEqual([
      "container pause",
    ]);
    expect(actions(await past(since, filters({ image: ["other:tag"] })))).toEqual(["image tag"]);
    expect(actions(await past(since, filters({ label: ["none"] })))).toEqual([]);
  });

  test("content types and the fields of before 1.52", async () => {
    const since = now();
    const Id = await engine.ok("create", "busybox", "true");
    await engine.ok("rm", Id);
    const of = async (version: string, accept?: string) => {
      const answer = await get(`/events?since=${since}&until=${now()}`, accept ? { Accept: accept } : {}, version);
      return { type: answer.headers.get("content-type"), text: await answer.text() };
    };
    const old = await of("1.51");
    expect(old.type).toBe("application/json");
    expect(JSON.parse(old.text.split("\n")[0]!)).toMatchObject({ status: "create", id: Id, from: "busybox" });
    const fresh = await of("1.52");
    expect(fresh.type).toBe("application/jsonl");
    expect(Object.keys(JSON.parse(fresh.text.split("\n")[0]!)).sort()).toEqual(
      ["Action", "Actor", "Type", "scope", "time", "timeNano"].sort(),
    );
    expect((await of("1.55", "text/html, application/x-ndjson;q=0.5")).type).toBe("application/x-ndjson");
    const sequence = await of("1.55", "application/json-seq");
    expect(sequence.type).toBe("application/json-seq");
    expect(sequence.text).toMatch(/^\x1e\{.*\}\n\x1e\{.*\}\n$/);
  });

  test("a stream goes on until `until`, and is over when the client goes", async () => {
    const listeners = async () => ((await (await get("/info")).json()) as { NEventsListener: number }).NEventsListener;
    const controller = new AbortController();
    const answer = await fetch("http://inro/events", { unix: engine.socket, signal: controller.signal });
    expect(await listeners()).toBe(1);
    const reader = answer.body!.getReader();
    const id = await engine.ok("create", "busybox", "true");
    expect(new TextDecoder().decode((await reader.read()).value)).toContain(`"Action":"create"`);
    controller.abort();
    while ((await listeners()) > 0);
    await engine.ok("rm", id);
    const begun = performance.now();
    expect(await (await get(`/events?until=${Date.now() / 1000 + 0.2}`)).text()).not.toContain("nonsense");
    expect(performance.now() - begun).toBeGreaterThan(150);
    expect(await listeners()).toBe(0);
  });

  test("SIGHUP is a reload of the daemon", async () => {
    const answer = await get("/events?filters=%7B%22type%22%3A%5B%22daemon%22%5D%7D");
    process.kill(engine.pid, "SIGHUP");
    const { value } = await jsonStream<EventMessage>(answer.body!).next();
    expect(value).toMatchObject({ Type: "daemon", Action: "reload", Actor: { ID: expect.stringMatching(/./) } });
  });

  test("bad bounds and filters", async () => {
    for (const query of ["since=x", "until=1h2", "since=20&until=10", "filters={", filters({ nope: ["x"] })]) {
      expect({ query, status: (await get(`/events?${query}`)).status }).toEqual({ query, status: 400 });
    }
  });

  test("inro events: lines, json, templates", async () => {
    const id = await engine.ok("create", "--name", "shown", "busybox", "true");
    await engine.ok("rm", id);
    const events = (...args: string[]) => engine.ok("events", "--since", "10m", "--until", "0s", ...args);
    const filter = ["--filter", "container=shown", "--filter", "event=create"];
    expect(await events(...filter)).toMatch(
      new RegExp(
        `^\\d{4}-\\d\\d-\\d\\dT[0-9:]+\\.\\d{9}[+-]\\d\\d:\\d\\d container create ${id} \\(image=busybox, name=shown\\)$`,
      ),
    );
    expect(await events(...filter, "--format", "{{.Type}} {{.Action}} {{.Actor.ID}} {{.Status}} {{.From}}")).toBe(
      `container create ${id} create busybox`,
    );
    expect(JSON.parse(await events(...filter, "--format", "json"))).toMatchObject({ Action: "create", scope: "local" });
    expect(JSON.parse(await events(...filter, "--format", "{{json .}}"))).toMatchObject({ Action: "create" });
    const bad = await engine.inro(["events", "--filter", "nope=x"]);
    expect(bad).toMatchObject({ code: 1, stderr: expect.stringContaining("invalid filter 'nope'") });
  });
});
