import { afterEach, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { Quiet, STAGES } from "./quiet.ts";

const AFTER = [10, 30];
let quiet: Quiet | undefined;
afterEach(() => quiet?.stop());

/** The names of `count` gifts, in their order. `onGift` comes after each. */
function gifts(count: number, onGift: (name: string) => void = () => {}): Promise<string[]> {
  const given: string[] = [];
  return new Promise((resolve) => {
    const stage = (name: string, after: number) => ({
      after,
      give() {
        given.push(name);
        onGift(name);
        if (given.length === count) resolve(given);
      },
    });
    quiet = new Quiet([stage("first", AFTER[0]!), stage("second", AFTER[1]!)]);
    quiet.touch();
  });
}

test("each stage has its time since the last request", async () => {
  const begin = performance.now();
  expect(await gifts(2)).toEqual(["first", "second"]);
  expect(performance.now() - begin).toBeGreaterThanOrEqual(AFTER[1]!);
});

test("a request between two stages begins anew, and so does one after the last", async () => {
  let requests = 0;
  const given = await gifts(5, (name) => {
    // After the stage: as a request comes, in a turn of its own.
    if ((name === "first" && requests === 0) || (name === "second" && requests === 1)) {
      requests++;
      setImmediate(() => quiet!.touch());
    }
  });
  expect(given).toEqual(["first", "first", "second", "first", "second"]);
});

test("the engine's own stages give the program's pages back", async () => {
  const filePages = () => Number(readFileSync("/proc/self/statm", "latin1").split(" ")[2]);
  const before = filePages();
  quiet = new Quiet(STAGES.map(({ after, give }) => ({ after: after / 1000, give })));
  quiet.touch();
  while (filePages() > before / 2) await new Promise((resolve) => setImmediate(resolve));
});
