import { describe, expect, test } from "bun:test";
import { bufferSize, completeLogConfig, DEFAULT_LOG, isCached, jsonFileLimits, localLimits } from "./log-config.ts";

const complete = (Type: string, Config: Record<string, string> = {}, engine = DEFAULT_LOG) =>
  completeLogConfig({ Type, Config }, engine);

describe("what is wrong is told in docker's words", () => {
  const init = "failed to initialize logging driver: ";
  test.each([
    ["json-file", { foo: "1" }, "unknown log opt 'foo' for json-file log driver"],
    ["local", { foo: "1" }, "unknown log opt 'foo' for log driver local"],
    ["journald", { "max-size": "1m" }, "unknown log opt 'max-size' for journald log driver"],
    ["syslog", { "max-file": "1" }, "unknown log opt 'max-file' for syslog log driver"],
    ["gelf", {}, "logger: no log driver named 'gelf' is registered"],
    ["constructor", {}, "logger: no log driver named 'constructor' is registered"],
    ["json-file", { mode: "x" }, "logger: logging mode not supported: x"],
    [
      "json-file",
      { "max-buffer-size": "1m" },
      "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
    ],
    [
      "json-file",
      { mode: "non-blocking", "max-buffer-size": "zz" },
      "error parsing option max-buffer-size: invalid size: 'zz'",
    ],
    ["json-file", { "cache-disabled": "zz" }, "invalid value for option cache-disabled: zz"],
    ["json-file", { "max-size": "zz" }, `${init}invalid size: 'zz'`],
    ["json-file", { "max-size": "-5" }, `${init}invalid size: '-5'`],
    ["json-file", { "max-size": "0" }, `${init}max-size must be a positive number`],
    ["json-file", { "max-file": "0" }, `${init}max-file cannot be less than 1`],
    ["json-file", { "max-file": "two" }, `${init}strconv.Atoi: parsing "two": invalid syntax`],
    ["json-file", { compress: "qq" }, `${init}strconv.ParseBool: parsing "qq": invalid syntax`],
    [
      "json-file",
      { compress: "true", "max-size": "1m" },
      `${init}compress cannot be true when max-file is less than 2 or max-size is not set`,
    ],
    [
      "json-file",
      { compress: "true", "max-size": "-1", "max-file": "3" },
      `${init}compress cannot be true when max-file is less than 2 or max-size is not set`,
    ],
    ["local", { "max-file": "1" }, `${init}compression cannot be enabled when max file count is 1`],
    ["local", { "max-file": "-1" }, `${init}max-file must not be negative`],
    ["local", { "max-size": "-5" }, `${init}invalid value for max-size: -5: invalid size: '-5'`],
    [
      "local",
      { compress: "?" },
      `${init}invalid boolean value for compress: strconv.ParseBool: parsing "?": invalid syntax`,
    ],
    ["syslog", { "cache-max-size": "x" }, `${init}invalid value for max-size: x: invalid size: 'x'`],
  ] as [string, Record<string, string>, string][])("%s %j", (type, options, message) => {
    expect(() => complete(type, options)).toThrow(message);
  });
});

test.each([
  ["json-file", { "max-size": "10m", "max-file": "3", compress: "true", tag: "{{.Name}}", labels: "a,b" }],
  ["json-file", { "max-file": "3" }],
  ["json-file", { "max-size": "-1" }],
  ["local", { "max-file": "1", compress: "false" }],
  ["local", { labels: "a", "env-regex": "^X", "labels-regex": "b", env: "c" }],
  ["journald", { tag: "x", mode: "non-blocking", "max-buffer-size": "4m", "cache-disabled": "true" }],
  ["syslog", { "syslog-address": "udp://127.0.0.1", "syslog-format": "rfc5424", "cache-max-size": "1m" }],
  ["none", { whatever: "x" }],
] as [string, Record<string, string>][])("right: %s %j", (type, options) => {
  expect(complete(type, options)).toEqual({ Type: type, Config: options });
});

test("the engine's own driver and options fill what is left out", () => {
  const engine = { Type: "local", Config: { "max-size": "5m", tag: "x" } };
  expect(completeLogConfig({}, engine)).toEqual({ Type: "local", Config: { "max-size": "5m", tag: "x" } });
  expect(complete("", { tag: "y" }, engine).Config).toEqual({ "max-size": "5m", tag: "y" });
  expect(complete("json-file", {}, engine)).toEqual({ Type: "json-file", Config: {} });
});

test("limits are docker's options, with rotation as the default", () => {
  const no = { compress: false };
  expect(jsonFileLimits({})).toEqual({ maxSize: 20_000_000, maxFiles: 5, ...no });
  expect(jsonFileLimits({ "max-size": "10m" })).toEqual({ maxSize: 10_000_000, maxFiles: 1, ...no });
  expect(jsonFileLimits({ "max-size": "1.5k", "max-file": "3" })).toEqual({ maxSize: 1500, maxFiles: 3, ...no });
  expect(jsonFileLimits({ "max-size": "-1" }).maxSize).toBe(Number.POSITIVE_INFINITY);
  expect(localLimits({})).toEqual({ maxSize: 20 * 1024 * 1024, maxFiles: 5, compress: true });
  expect(bufferSize({})).toBeUndefined();
  expect(bufferSize({ mode: "non-blocking" })).toBe(1_000_000);
  expect(bufferSize({ mode: "non-blocking", "max-buffer-size": "4k" })).toBe(4096);
  expect(isCached({})).toBe(true);
  expect(isCached({ "cache-disabled": "true" })).toBe(false);
});
