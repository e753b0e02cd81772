import { describe, expect, test } from "bun:test";
import { parseImageConfig } from "./config.ts";

const digest = `sha256:${"a".repeat(64)}`;
const minimal = { architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [digest] } };
const parse = (change: object) => parseImageConfig(JSON.stringify({ ...minimal, ...change }));
const parseDefaults = (config: object) => parse({ config }).config;

test("everything that docker writes", () => {
  const whole = {
    ...minimal,
    variant: "v2",
    created: "2024-01-02T03:04:05.123456789Z",
    author: "me",
    config: {
      User: "1:2",
      ExposedPorts: { "80/tcp": {}, "53/udp": {} },
      Env: ["A=b"],
      Entrypoint: ["/e"],
      Cmd: ["c"],
      Volumes: { "/v": {} },
      WorkingDir: "/w",
      Labels: { l: "x" },
      StopSignal: "SIGINT",
      Shell: ["/bin/sh"],
      OnBuild: ["RUN x"],
      Healthcheck: { Test: ["CMD", "x"], Interval: 5, Retries: 3 },
    },
    history: [{ created: "2024-01-02T03:04:05+01:00", created_by: "x", empty_layer: true }],
  };
  const legacy = { id: "x", container: "y", docker_version: "1", container_config: { Env: 5 }, "os.version": "1" };
  expect(parseImageConfig(Buffer.from(JSON.stringify({ ...whole, ...legacy })))).toEqual(whole as never);
});

test("null is absent, and what is unknown is left out", () => {
  const nulls = {
    Env: null,
    Cmd: null,
    Entrypoint: null,
    Volumes: null,
    Labels: null,
    ExposedPorts: null,
    Healthcheck: null,
  };
  expect(parseDefaults({ ...nulls, Strange: 1 })).toEqual({});
  expect(parse({ config: null, history: null, created: null, variant: "" })).toEqual(minimal as never);
});

test("a command may be one text", () => {
  expect(parseDefaults({ Cmd: "x", Entrypoint: "y" })).toEqual({ Cmd: ["x"], Entrypoint: ["y"] });
});

test("names of the prototype are names like others", () => {
  const labels = parseImageConfig(
    JSON.stringify(minimal).replace("{", '{"config":{"Labels":{"__proto__":"x","constructor":"y"}},'),
  ).config!.Labels!;
  expect(Object.entries(labels)).toEqual([
    ["__proto__", "x"],
    ["constructor", "y"],
  ]);
  expect(Object.getPrototypeOf(labels)).toBe(Object.prototype);
});

describe("refuses", () => {
  const wrong: [string, object, string][] = [
    ["no architecture", { architecture: undefined }, "architecture"],
    ["an os with a slash", { os: "linux/../x" }, "os is not a name"],
    ["no rootfs", { rootfs: undefined }, "rootfs is not an object"],
    ["another rootfs", { rootfs: { type: "base", diff_ids: [] } }, 'rootfs.type is not "layers"'],
    ["a diffID that is a path", { rootfs: { type: "layers", diff_ids: ["sha256:../../x"] } }, "not a digest"],
    ["too many layers", { rootfs: { type: "layers", diff_ids: Array(501).fill(digest) } }, "more than 500 layers"],
    ["a date that is none", { created: "yesterday" }, "created is not an RFC 3339 time"],
    ["the 45th of May", { created: "2024-05-45T00:00:00Z" }, "created is not an RFC 3339 time"],
    ["a list as config", { config: [] }, "config is not an object"],
    ["a history that is an object", { history: {} }, "history is not a list"],
    ["a history entry that is a text", { history: ["x"] }, "history is not an object"],
  ];
  for (const [name, change, message] of wrong) {
    test(name, () => expect(() => parse(change)).toThrow(message));
  }
  const wrongDefaults: [object, string][] = [
    [{ User: 0 }, "config.User is not a text"],
    [{ User: "a\0b" }, "config.User is not free of NUL"],
    [{ Env: { A: "b" } }, "config.Env is not a list"],
    [{ Env: [1] }, "config.Env is not a text"],
    [{ Env: ["A=\0"] }, "config.Env is not free of NUL"],
    [{ Cmd: [["x"]] }, "config.Cmd is not a text"],
    [{ Entrypoint: { 0: "x" } }, "config.Entrypoint is not a list"],
    [{ WorkingDir: ["/"] }, "config.WorkingDir is not a text"],
    [{ Volumes: ["/v"] }, "config.Volumes is not an object"],
    [{ Volumes: { "/v\0": {} } }, "config.Volumes is not free of NUL"],
    [{ Labels: { a: 1 } }, "config.Labels is not a text"],
    [{ ExposedPorts: { "80/x": {} } }, "config.ExposedPorts is not a set of port/protocol"],
    [{ StopSignal: 9 }, "config.StopSignal is not a text"],
    [{ Healthcheck: { Interval: "5s" } }, "config.Healthcheck.Interval is not an integer"],
    [{ Env: Array(10_001).fill("A=b") }, "at most 10000 items"],
  ];
  for (const [config, message] of wrongDefaults) {
    test(message, () => expect(() => parseDefaults(config)).toThrow(message));
  }
  test("what is no UTF-8", () => {
    expect(() => parseImageConfig(Buffer.from([0x22, 0xff, 0x22]))).toThrow("not JSON");
  });
  test("what is too large", () => {
    expect(() => parseImageConfig(Buffer.alloc(4 * 1024 * 1024 + 1, 32))).toThrow("larger than 4194304 bytes");
  });
});
