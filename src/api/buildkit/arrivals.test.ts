import { expect, test } from "bun:test";
import { Arrivals } from "./arrivals.ts";

test("whoever comes first waits for the other", async () => {
  const arrivals = new Arrivals<number>();
  const waiting = arrivals.get("a", new AbortController().signal);
  arrivals.add("a", 1);
  expect(await waiting).toBe(1);
  expect(await arrivals.get("a", AbortSignal.abort())).toBe(1);
});

test("a signal ends the wait, and one that has fired before begins none", async () => {
  const arrivals = new Arrivals<number>();
  const controller = new AbortController();
  const waiting = arrivals.get("a", controller.signal).catch((error) => error);
  controller.abort(new Error("gone"));
  expect((await waiting).message).toBe("gone");
  const late = await arrivals.get("a", AbortSignal.abort(new Error("gone before"))).catch((error) => error);
  expect(late.message).toBe("gone before");
  // Nobody is left to wake.
  arrivals.add("a", 1);
  expect(arrivals.size).toBe(1);
});
