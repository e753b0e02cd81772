import { expect, test } from "bun:test";
import { Timers } from "./timers.ts";

const all = (timers: Timers<string>, delays: Record<string, number>): Promise<string[]> =>
  new Promise((resolve) => {
    const ran: string[] = [];
    const count = Object.keys(delays).length;
    for (const [key, delay] of Object.entries(delays)) {
      timers.set(key, delay, () => {
        ran.push(key);
        if (ran.length === count) resolve(ran);
      });
    }
  });

test("runs in the order of their times, whatever the order they were set in", async () => {
  const timers = new Timers<string>();
  expect(await all(timers, { third: 30, first: 1, second: 15, past: -5 })).toEqual([
    "past",
    "first",
    "second",
    "third",
  ]);
  expect(timers.size).toBe(0);
});

test("what is cancelled or set anew does not run, be it the next or not", async () => {
  const timers = new Timers<string>();
  const fail = () => {
    throw new Error("it ran");
  };
  timers.set("next", 1, fail);
  timers.set("later", 5, fail);
  timers.cancel("next");
  timers.cancel("later");
  timers.cancel("nobody");
  timers.set("replaced", 1, fail);
  expect(await all(timers, { replaced: 10, other: 2 })).toEqual(["other", "replaced"]);
});

test("one that sets itself again runs again", async () => {
  const timers = new Timers<string>();
  const ran = await new Promise<number>((resolve) => {
    let count = 0;
    const again = () => {
      if (++count === 3) resolve(count);
      else timers.set("again", 1, again);
    };
    again();
  });
  expect(ran).toBe(3);
});

test("a time beyond what setTimeout takes does not come early", async () => {
  const timers = new Timers<string>();
  let ran = false;
  timers.set("far", 2 ** 40, () => {
    ran = true;
  });
  await all(timers, { near: 5 });
  expect(ran).toBe(false);
  timers.clear();
  expect(timers.size).toBe(0);
});
