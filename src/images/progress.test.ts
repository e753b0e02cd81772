import { expect, test } from "bun:test";
import { Progress } from "./progress.ts";
import { recorder } from "./testing/samples.ts";

test("progress of one id is passed on at most ten times a second, its end always", () => {
  const said = recorder();
  const progress = new Progress(said.onMessage);
  const started = performance.now();
  for (let i = 1; i <= 10_000; i++) progress.advance("Downloading", "a", i, 10_000);
  const allowed = (performance.now() - started) / 100 + 2;
  expect(said.messages.length).toBeGreaterThanOrEqual(2);
  expect(said.messages.length).toBeLessThanOrEqual(allowed);
  expect(said.messages.at(-1)).toEqual({
    status: "Downloading",
    id: "a",
    progressDetail: { current: 10_000, total: 10_000 },
  });
  progress.advance("Downloading", "b", 1, 2);
  expect(said.messages.at(-1)!.id).toBe("b");
});

test("the shape of messages without progress", () => {
  const said = recorder();
  const progress = new Progress(said.onMessage);
  progress.begin("Pulling from a", "latest");
  progress.say("Waiting", "x");
  progress.say("Digest: y");
  expect(said.messages).toEqual([
    { status: "Pulling from a", id: "latest" },
    { status: "Waiting", id: "x", progressDetail: {} },
    { status: "Digest: y" },
  ]);
});
