import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { durably } from "../images/records.ts";
import { formatNanoseconds, nowNanoseconds, parseRfc3339, parseTimeBound } from "./clock.ts";
import { Container, newState } from "./container.ts";
import { DetachKeys, parseDetachKeys } from "./detach-keys.ts";
import { EventLog } from "./events.ts";
import { parseFilters, readBoolean } from "./filters.ts";
import { humanDuration, statusText } from "./human-time.ts";
import { containerFilter, LIST_FILTERS } from "./list-filters.ts";
import { DirectoryLock } from "./lock.ts";
import { Mutex } from "./mutex.ts";
import { type ContainerRecord, type StateRecord, Store } from "./store.ts";
import { Subscriber } from "./subscriber.ts";
import { parseUntil } from "./until.ts";

const record = (name: string, more: Partial<ContainerRecord> = {}): ContainerRecord => ({
  id: Bun.SHA256.hash(name, "hex"),
  name,
  created: "2026-01-01T00:00:00.000000000Z",
  image: "busybox",
  imageId: "sha256:1",
  config: { Labels: { a: "1", b: "" } },
  host: {},
  mounts: [],
  anonymous: [],
  ...more,
});
const container = (name: string, state: Partial<StateRecord> = {}, more: Partial<ContainerRecord> = {}) =>
  new Container(
    record(name, more),
    { ...newState(), ...state },
    { directory: "/nowhere", journal: "/nowhere", onError() {} },
    () => {},
  );

test("a mutex runs steps in order, also after one that threw", async () => {
  const mutex = new Mutex();
  const order: number[] = [];
  let release = () => {};
  const first = mutex.run(async () => {
    await new Promise<void>((resolve) => {
      release = resolve;
    });
    order.push(1);
    throw new Error("first");
  });
  const second = mutex.run(async () => order.push(2));
  expect(mutex.pending).toBe(2);
  await Promise.resolve();
  expect(order).toEqual([]);
  release();
  await expect(first).rejects.toThrow("first");
  await second;
  expect(order).toEqual([1, 2]);
  expect(mutex.pending).toBe(0);
});

describe("on disk", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "inro-store-"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  test("the store has after opening again what was written, in the order of creation", () => {
    const path = join(directory, "inro.db");
    const store = new Store(path);
    const volume = { name: "v", created: "now", labels: {}, anonymous: true };
    store.insertContainer(record("b"), newState(), [volume]);
    store.insertContainer(record("a"), newState(), []);
    expect(() => store.insertContainer(record("a", { id: "other" }), newState(), [])).toThrow("UNIQUE");
    store.updateState(record("b").id, { ...newState(), status: "exited", exitCode: 3 });
    // Not closed: as after kill -9.
    const again = new Store(path);
    expect(again.engineId).toBe(store.engineId);
    expect(again.containers().map(({ record: { name }, state }) => [name, state.status, state.exitCode])).toEqual([
      ["b", "exited", 3],
      ["a", "created", 0],
    ]);
    expect(again.volumes()).toEqual([volume]);
    again.deleteContainer(record("b").id);
    expect(store.containers().map(({ record: { name } }) => name)).toEqual(["a"]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    // A commit waits for the disk where somebody was promised so.
    const synchronous = () => again.db.query("PRAGMA synchronous").get();
    expect([synchronous(), durably(again.db, synchronous), synchronous()]).toEqual(
      [1, 2, 1].map((level) => ({ synchronous: level })),
    );
  });

  test("one lock on a directory at a time, the second names the holder", async () => {
    const lock = await DirectoryLock.take(directory);
    const message = `${directory} is in use by another engine (pid ${process.pid})`;
    await expect(DirectoryLock.take(directory)).rejects.toThrow(message);
    lock.release();
    (await DirectoryLock.take(directory)).release();
  });
});

describe("filters", () => {
  test.each([
    ['{"label":["a=1","b"]}', [["label", ["a=1", "b"]]]],
    ['{"label":{"a=1":true,"c":false}}', [["label", ["a=1"]]]],
    ["", []],
    ["null", []],
  ])("%s is read", (text, expected) => {
    expect([...parseFilters(text, LIST_FILTERS)]).toEqual(expected as [string, string[]][]);
  });

  test.each(['{"what":["x"]}', "[]", '{"label":"x"}', '{"label":[1]}', "{", "1"])("%s is invalid", (text) => {
    expect(() => parseFilters(text, LIST_FILTERS)).toThrow(expect.objectContaining({ kind: "invalid" }));
  });

  const facts = {
    networkId: () => undefined,
    createdOf: () => "2026-01-01T00:00:00.000000000Z",
    imageId: (ref: string) => `sha256:${ref}`,
  };
  const running = container("web_1", { status: "running" });
  const ended = container("db", { status: "exited", exitCode: 3 }, { created: "2026-01-02T00:00:00.000000000Z" });
  test.each<[string, string[], string[]]>([
    ["name", ["web"], ["web_1"]],
    ["name", ["^/db$"], ["db"]],
    ["name", ["^.b$", "web"], ["web_1", "db"]],
    ["name", ["(a+)+x"], []],
    ["status", ["running"], ["web_1"]],
    ["exited", ["3"], ["db"]],
    ["ancestor", ["1"], ["web_1", "db"]],
    ["ancestor", ["2"], []],
    ["since", ["web_1"], ["db"]],
    ["before", ["db"], []],
    ["label", ["a=1", "b"], ["web_1", "db"]],
    ["label", ["a=1", "c"], []],
    ["id", [running.id.slice(0, 6)], ["web_1"]],
    ["network", ["none"], ["web_1", "db"]],
  ])("%s=%p", (key, values, names) => {
    const test = containerFilter(new Map([[key, values]]), facts);
    expect([running, ended].filter(test).map(({ record }) => record.name)).toEqual(names);
  });

  test("a boolean is one word of docker's four", () => {
    const read = (...values: string[]) => readBoolean(new Map([["dangling", values]]), "dangling");
    expect([read("true"), read("1", "true"), read("0"), read("false")]).toEqual([true, true, false, false]);
    expect(readBoolean(new Map(), "dangling")).toBeUndefined();
    for (const values of [["t"], ["true", "false"], ["1", "x"], []])
      expect(() => read(...values)).toThrow(`invalid filter 'dangling=[${values.join(" ")}]'`);
  });

  test("until is a time or a duration", () => {
    expect(parseUntil(["1700000000"])).toBe(1_700_000_000_000);
    expect(parseUntil(["2023-11-14T22:13:20Z"])).toBe(1_700_000_000_000);
    const before = Date.now() - 5_400_000;
    expect(parseUntil(["1h30m"])).toBeGreaterThanOrEqual(before);
    expect(parseUntil(["1h30m"])).toBeLessThanOrEqual(Date.now() - 5_400_000);
    for (const [text, time] of [
      ["2023-11-14Z", Date.UTC(2023, 10, 14)],
      ["2023-11-14", new Date(2023, 10, 14).getTime()],
      ["2023-11-14T22:13", new Date(2023, 10, 14, 22, 13).getTime()],
      ["2023-11-14T22+01:00", Date.UTC(2023, 10, 14, 21)],
      ["2023-11-14T22:13:20.5", new Date(2023, 10, 14, 22, 13, 20, 500).getTime()],
    ] as const)
      expect([text, parseUntil([text])]).toEqual([text, time]);
    expect(parseUntil(undefined)).toBeUndefined();
    for (const text of ["soon", "2023-13-01", "2023-11-14T25", `${"9".repeat(400)}h`])
      expect(() => parseUntil([text])).toThrow("invalid until filter");
  });
});

describe("times", () => {
  test("nanoseconds go to RFC 3339 and back", () => {
    const now = nowNanoseconds();
    expect(parseRfc3339(formatNanoseconds(now))).toBe(now);
    expect(nowNanoseconds()).toBeGreaterThan(now);
    expect(parseRfc3339("2023-11-14T23:13:20.5+01:00")).toBe(1_700_000_000_500_000_000n);
    expect(parseTimeBound("1700000000.000000005")).toBe(1_700_000_000_000_000_005n);
    expect(parseTimeBound("0")).toBeUndefined();
  });

  test.each([
    [0, "Less than a second"],
    [1, "1 second"],
    [59, "59 seconds"],
    [60, "About a minute"],
    [120, "2 minutes"],
    [3600, "About an hour"],
    [7200, "2 hours"],
    [172_800, "2 days"],
    [14 * 86_400, "2 weeks"],
    [90 * 86_400, "3 months"],
    [800 * 86_400, "2 years"],
  ])("%d seconds are %s", (seconds, text) => {
    expect(humanDuration(seconds * 1000)).toBe(text);
  });

  test("the status text names state, code and age", () => {
    const state = { ...newState(), startedAt: formatNanoseconds(0n), finishedAt: formatNanoseconds(0n) };
    expect(statusText({ ...state, status: "exited", exitCode: 1 }, 180_000)).toBe("Exited (1) 3 minutes ago");
    expect(statusText({ ...state, status: "paused" }, 5000)).toBe("Up 5 seconds (Paused)");
  });
});

describe("detach keys", () => {
  const P = 0x10;
  const Q = 0x11;
  test("are found across writes, and given on when they do not come", () => {
    const keys = new DetachKeys(parseDetachKeys(undefined));
    expect(keys.filter(Uint8Array.of(65, P))).toEqual({ data: Uint8Array.of(65), detach: false });
    expect(keys.filter(Uint8Array.of(66))).toEqual({ data: Uint8Array.of(P, 66), detach: false });
    expect(keys.filter(Uint8Array.of(P, P, Q, 67))).toEqual({ data: Uint8Array.of(P), detach: true });
  });

  test("have docker's notation", () => {
    expect([...parseDetachKeys("a,ctrl-a,ctrl-@,ctrl-_")]).toEqual([97, 1, 0, 31]);
    expect(parseDetachKeys("").length).toBe(0);
    expect(() => parseDetachKeys("ctrl-1")).toThrow("invalid detach keys");
  });
});

test("a subscriber holds back until it is read or closed", async () => {
  let closed = 0;
  const subscriber = new Subscriber(() => closed++);
  const chunk = { stream: 1 as const, data: new Uint8Array(300_000) };
  const room = subscriber.push(chunk)!;
  let free = false;
  void room.then(() => {
    free = true;
  });
  await Promise.resolve();
  expect(free).toBe(false);
  const iterator = subscriber[Symbol.asyncIterator]();
  await iterator.next();
  await room;
  const again = subscriber.push(chunk)!;
  await iterator.return?.(undefined);
  await again;
  expect(subscriber.push(chunk)).toBeUndefined();
  expect(closed).toBe(1);
});

test("events: the past on request, filters, an end at until", async () => {
  const events = new EventLog();
  events.emit("container", "create", "c1", { name: "one", image: "busybox", a: "1" });
  events.emit("container", "exec_create: sh", "c1", { name: "one" });
  events.emit("image", "pull", "busybox", { name: "busybox" });
  const actions = async (filters: Record<string, string[]>) => {
    const found: string[] = [];
    const options = { until: Date.now() + 1, filters: new Map(Object.entries(filters)) };
    for await (const { Action } of events.subscribe(options, new AbortController().signal)) found.push(Action);
    return found;
  };
  expect(await actions({})).toEqual(["create", "exec_create: sh", "pull"]);
  expect(await actions({ event: ["exec_create"] })).toEqual(["exec_create: sh"]);
  expect(await actions({ container: ["one"], label: ["a=1"] })).toEqual(["create"]);
  expect(await actions({ image: ["busybox"] })).toEqual(["create", "pull"]);
  expect(events.listeners).toBe(0);
});
