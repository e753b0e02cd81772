import { expect, test } from "bun:test";
import type { HostConfig } from "../../spec/docker-api.ts";
import { type Ending, nextRestart, type Restarts, startsWithEngine } from "./policy.ts";

const ending = (more: Partial<Ending> = {}): Ending => ({
  exitCode: 1,
  stopped: false,
  restart: false,
  unhealthy: false,
  lived: 50,
  at: 1_000_000,
  ...more,
});
const policy = (Name: string, MaximumRetryCount = 0): HostConfig => ({ RestartPolicy: { Name, MaximumRetryCount } });

for (const [name, host, how, restarts] of [
  ["no policy", {}, {}, false],
  ["no", policy("no"), {}, false],
  ["no, and a client asks for it", policy("no"), { exitCode: 0, stopped: true, restart: true }, true],
  ["always after a success", policy("always"), { exitCode: 0 }, true],
  ["always after a stop", policy("always"), { stopped: true }, false],
  ["unless-stopped after a success", policy("unless-stopped"), { exitCode: 0 }, true],
  ["unless-stopped after a stop", policy("unless-stopped"), { stopped: true }, false],
  ["on-failure after a failure", policy("on-failure"), {}, true],
  ["on-failure after a success", policy("on-failure"), { exitCode: 0 }, false],
  ["on-failure after a stop", policy("on-failure"), { exitCode: 143, stopped: true }, false],
  ["unhealthy, and asked for it", { RestartOnUnhealthy: true }, { exitCode: 0, unhealthy: true }, true],
  ["unhealthy, and did not ask", policy("no"), { unhealthy: true }, false],
  ["healthy, and asked for it", { RestartOnUnhealthy: true }, {}, false],
  ["unhealthy and stopped", { RestartOnUnhealthy: true }, { unhealthy: true, stopped: true }, false],
] as const) {
  test(`${name}: ${restarts ? "restarts" : "stays"}`, () => {
    expect(nextRestart(host as HostConfig, undefined, ending(how)) !== undefined).toBe(restarts);
  });
}

test("the delay doubles from 100 ms to a minute, and begins anew after 10 s of life", () => {
  const delays: number[] = [];
  let restarts: Restarts | undefined;
  const next = (lived: number) => {
    restarts = nextRestart(policy("always"), restarts, ending({ lived }));
    delays.push(restarts!.delay);
  };
  for (let i = 0; i < 12; i++) next(9_999);
  next(10_000);
  next(0);
  expect(delays).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000, 100, 200]);
  expect(restarts).toEqual({ count: 14, delay: 200, due: 1_000_200 });
});

test("on-failure:2 tries twice", () => {
  const host = policy("on-failure", 2);
  const first = nextRestart(host, undefined, ending());
  const second = nextRestart(host, first, ending());
  expect([first?.count, second?.count, nextRestart(host, second, ending())]).toEqual([1, 2, undefined]);
});

test("an engine that starts: always, unless-stopped unless somebody did", () => {
  for (const [name, free, stopped] of [
    ["no", false, false],
    ["always", true, true],
    ["unless-stopped", true, false],
    ["on-failure", false, false],
  ] as const) {
    expect([name, startsWithEngine(policy(name), false), startsWithEngine(policy(name), true)]).toEqual([
      name,
      free,
      stopped,
    ]);
  }
});
