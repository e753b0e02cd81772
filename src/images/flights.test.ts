import { expect, test } from "bun:test";
import { Slots } from "../base/slots.ts";
import { Flights } from "./flights.ts";

function gate<T = void>() {
  return Promise.withResolvers<T>();
}
const caller = (signal = new AbortController().signal, events: number[] = []) => ({
  signal,
  onEvent: (event: number) => events.push(event),
});

test("one work for all callers; who comes later hears the last event", async () => {
  const flights = new Flights<string, number>();
  const end = gate<string>();
  let works = 0;
  const events: number[] = [];
  const work = (_: AbortSignal, emit: (event: number) => void) => {
    works++;
    emit(1);
    return end.promise;
  };
  const first = flights.run("k", caller(), work);
  const second = flights.run("k", caller(undefined, events), work);
  end.resolve("done");
  expect(await Promise.all([first, second])).toEqual(["done", "done"]);
  expect(works).toBe(1);
  expect(events).toEqual([1]);
  expect(await flights.run("k", caller(), async () => "again")).toBe("again");
});

test("the work goes on while one caller is left, and the last one waits for its end", async () => {
  const flights = new Flights<void, number>();
  const ended = gate();
  let aborted: AbortSignal | undefined;
  const work = async (signal: AbortSignal) => {
    aborted = signal;
    await ended.promise;
    signal.throwIfAborted();
  };
  const [a, b] = [new AbortController(), new AbortController()];
  const first = flights.run("k", caller(a.signal), work);
  const second = flights.run("k", caller(b.signal), work);
  a.abort(new Error("a"));
  await expect(first).rejects.toThrow("a");
  expect(aborted!.aborted).toBe(false);
  b.abort(new Error("b"));
  let settled = false;
  const outcome = second
    .catch((error) => error.message)
    .finally(() => {
      settled = true;
    });
  await new Promise(setImmediate);
  expect(aborted!.aborted).toBe(true);
  expect(settled).toBe(false);
  ended.resolve();
  expect(await outcome).toBe("b");
});

test("who joined work that failed tries on its own", async () => {
  const flights = new Flights<string, number>();
  const end = gate<string>();
  const first = flights.run("k", caller(), () => end.promise);
  const second = flights.run("k", caller(), async () => "own");
  end.reject(new Error("theirs"));
  await expect(first).rejects.toThrow("theirs");
  expect(await second).toBe("own");
});

test("slots: no more than allowed at once, in order, also after failures", async () => {
  const slots = new Slots(2);
  const gates = [gate(), gate(), gate()];
  const started: number[] = [];
  const works = gates.map((each, i) =>
    slots
      .run(async () => {
        started.push(i);
        await each.promise;
      })
      .catch(() => {}),
  );
  await new Promise(setImmediate);
  expect(started).toEqual([0, 1]);
  expect(slots.full).toBe(true);
  gates[1]!.reject(new Error("x"));
  await works[1];
  await new Promise(setImmediate);
  expect(started).toEqual([0, 1, 2]);
  for (const each of gates) each.resolve();
  await Promise.all(works);
  expect(slots.full).toBe(false);
});
