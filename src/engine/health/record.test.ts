import { expect, test } from "bun:test";
import { isIP } from "node:net";
import fc from "fast-check";
import type { HealthConfig } from "../../spec/docker-api.ts";
import { formatNanoseconds } from "../clock.ts";
import { checkHealth, healthCheck } from "../config/health.ts";
import { goDuration } from "../duration.ts";
import { endedHealth, type HealthRecord, pauseAfter, startingHealth, withResult } from "./record.ts";

const config = (Healthcheck: HealthConfig, Shell?: string[]) => ({ Healthcheck, ...(Shell ? { Shell } : {}) });
const at = (seconds: number) => formatNanoseconds(BigInt(seconds) * 1_000_000_000n);
const result = (ExitCode: number, seconds = 60) => ({ Start: at(seconds), End: at(seconds), ExitCode, Output: "" });
const check = healthCheck(config({ Test: ["CMD", "x"], Retries: 2, StartPeriod: 30e9 }))!;

test("docker's defaults, the image's shell, and what is no check", () => {
  expect(healthCheck(config({ Test: ["CMD-SHELL", "a b"] }))).toEqual({
    probe: { kind: "command", command: ["/bin/sh", "-c", "a b"] },
    interval: 30_000,
    timeout: 30_000,
    retries: 3,
    startPeriod: 0,
    startInterval: 5000,
  });
  expect(healthCheck(config({ Test: ["CMD-SHELL", "x"] }, ["bash", "-ec"]))?.probe).toEqual({
    kind: "command",
    command: ["bash", "-ec", "x"],
  });
  for (const Test of [[], ["NONE"], [""]]) expect(healthCheck(config({ Test }))).toBeUndefined();
  expect(healthCheck({})).toBeUndefined();
});

for (const [test_, probe] of [
  [["TCP", "127.0.0.1:5432"], { kind: "tcp", address: { ip: "127.0.0.1", port: 5432 } }],
  [["TCP", "localhost:80"], { kind: "tcp", address: { ip: "127.0.0.1", port: 80 } }],
  [["TCP", "[::1]:6379"], { kind: "tcp", address: { ip: "::1", port: 6379 } }],
  [
    ["HTTP", "http://127.0.0.1:8080/health?deep=1"],
    { kind: "http", address: { ip: "127.0.0.1", port: 8080 }, host: "127.0.0.1:8080", path: "/health?deep=1" },
  ],
  [["HTTP", "http://10.0.0.7"], { kind: "http", address: { ip: "10.0.0.7", port: 80 }, host: "10.0.0.7", path: "/" }],
] as const) {
  test(`${test_.join(" ")} is a probe of ours`, () => {
    checkHealth({ Test: [...test_] });
    expect(healthCheck(config({ Test: [...test_] }))?.probe as object).toEqual(probe);
  });
}

for (const [test_, message] of [
  [["PING", "x"], 'unknown type "PING" in healthcheck, expected NONE, CMD, CMD-SHELL, HTTP or TCP'],
  [["CMD"], "healthcheck CMD has no command"],
  [["TCP"], "expected an address and a port"],
  [["TCP", "5432"], "expected an address and a port"],
  [["TCP", "127.0.0.1"], "expected an address and a port"],
  [["TCP", "db:5432"], "expected an address and a port"],
  [["TCP", "127.0.0.1:99999"], "expected an address and a port"],
  [["TCP", "127.0.0.1:0"], "expected an address and a port"],
  [["TCP", "u@127.0.0.1:80"], "expected an address and a port"],
  [["TCP", "127.0.0.1/x:80"], "expected an address and a port"],
  [["TCP", "127.0.0.1:80", "x"], "takes one argument"],
  [["HTTP", "https://127.0.0.1/"], "expected a URL with an address"],
  [["HTTP", "http://web/"], "expected a URL with an address"],
  [["HTTP", "/health"], "expected a URL with an address"],
  [["HTTP", "http://u:p@127.0.0.1/"], "expected a URL with an address"],
] as const) {
  test(`${test_.join(" ")} is refused`, () => expect(() => checkHealth({ Test: [...test_] })).toThrow(message));
}

test("whatever the test, it is refused as invalid, or is a check", () => {
  const words = fc.oneof(fc.constantFrom("CMD", "CMD-SHELL", "HTTP", "TCP", "NONE", ""), fc.string(), fc.webUrl());
  const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain(), fc.string());
  const address = fc.tuple(host, fc.integer()).map(([ip, port]) => `${ip.includes(":") ? `[${ip}]` : ip}:${port}`);
  const text = fc.oneof(fc.array(words), fc.tuple(fc.constantFrom("HTTP", "TCP"), fc.oneof(address, words)));
  fc.assert(
    fc.property(text, (Test) => {
      try {
        checkHealth({ Test });
      } catch (error) {
        expect(error).toMatchObject({ kind: "invalid" });
        return;
      }
      const probe = healthCheck(config({ Test }))?.probe;
      if (probe?.kind === "tcp" || probe?.kind === "http") {
        expect([isIP(probe.address.ip) > 0, probe.address.port > 0, probe.address.port < 65536]).toEqual([
          true,
          true,
          true,
        ]);
      }
      // A line of the request that it could break out of.
      if (probe?.kind === "http") expect(`${probe.path}${probe.host}`).not.toMatch(/[\s\x00-\x1f]/);
    }),
    { numRuns: 2000 },
  );
});

test("a success is healthy at once, as many failures as retries are unhealthy, five results are kept", () => {
  let health = startingHealth(config({ Test: ["CMD", "x"] }), undefined).health!;
  const statuses: string[] = [];
  for (const code of [1, 0, 1, 0, 1, 1, 1, 0]) {
    health = withResult(health, result(code), check, at(0));
    statuses.push(`${health.status} ${health.failingStreak}`);
  }
  expect(statuses).toEqual([
    "starting 1",
    "healthy 0",
    "healthy 1",
    "healthy 0",
    "healthy 1",
    "unhealthy 2",
    "unhealthy 3",
    "healthy 0",
  ]);
  expect(health.log.map(({ ExitCode }) => ExitCode)).toEqual([0, 1, 1, 1, 0]);
  expect(endedHealth(health)).toMatchObject({ status: "unhealthy", failingStreak: 0 });
  expect(startingHealth(config({ Test: ["CMD", "x"] }), health).health).toEqual({ ...health, status: "starting" });
  expect(startingHealth({}, health)).toEqual({});
});

test("a failure in the start period does not count, until there was a success", () => {
  const starting: HealthRecord = { status: "starting", failingStreak: 0, log: [] };
  expect(withResult(starting, result(1, 29), check, at(0)).failingStreak).toBe(0);
  expect(withResult(starting, result(1, 30), check, at(0)).failingStreak).toBe(1);
  expect(withResult({ ...starting, status: "healthy" }, result(1, 29), check, at(0)).failingStreak).toBe(1);
  expect(pauseAfter(starting, check, 29_000)).toBe(5000);
  expect(pauseAfter(starting, check, 30_000)).toBe(30_000);
  expect(pauseAfter({ ...starting, status: "healthy" }, check, 1)).toBe(30_000);
});

for (const [milliseconds, text] of [
  [1, "1ms"],
  [250, "250ms"],
  [1500, "1.5s"],
  [30_000, "30s"],
  [90_000, "1m30s"],
  [3_600_000, "1h0m0s"],
] as const) {
  test(`${milliseconds} ms are ${text}`, () => expect(goDuration(milliseconds)).toBe(text));
}
