import { expect, test } from "bun:test";
import type { EventMessage } from "../spec/docker-api.ts";
import { EventLog } from "./events.ts";

const drain = async (events: AsyncIterable<EventMessage>) => {
  const found: string[] = [];
  for await (const { Action } of events) found.push(Action);
  return found;
};

test("the last 256 are kept", async () => {
  const log = new EventLog();
  for (let i = 0; i < 300; i++) log.emit("container", `a${i}`, "id", {});
  const past = await drain(log.subscribe({ since: 0, until: Date.now() + 5 }, new AbortController().signal));
  expect(past).toHaveLength(256);
  expect(past[0]).toBe("a44");
  // Without a time before which, none of the past.
  const now = new AbortController();
  const none = drain(log.subscribe({}, now.signal));
  now.abort();
  expect(await none).toEqual([]);
});

test("a listener that does not read is cut off, and the others are not", async () => {
  const log = new EventLog();
  const { signal } = new AbortController();
  const slow = log.subscribe({}, signal);
  const stop = new AbortController();
  const quick = drain(log.subscribe({}, stop.signal));
  for (let i = 0; i < 12_000; i++) {
    log.emit("container", "x", "id", {});
    if (i % 1000 === 0) await new Promise(setImmediate);
  }
  await new Promise(setImmediate);
  stop.abort();
  expect(await quick).toHaveLength(12_000);
  const late = await drain(slow);
  expect(late.length).toBeLessThan(10_100);
  expect(log.listeners).toBe(0);
});
