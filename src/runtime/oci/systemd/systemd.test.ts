import { describe, expect, test } from "bun:test";
import { socketPaths } from "../../../dbus/address.ts";
import { parseGvariant } from "../../../dbus/gvariant.ts";
import type { Variant } from "../../../dbus/marshal.ts";
import type { Resources } from "../../../spec/oci-runtime.ts";
import { expandSlice, unitOf } from "./names.ts";
import { annotatedProperties, bits, resourceProperties, unitProperties } from "./properties.ts";

describe("names", () => {
  test.each<[string | undefined, boolean, string, string]>([
    [undefined, false, "inro-c1.scope", "/system.slice/inro-c1.scope"],
    ["", true, "inro-c1.scope", "/user.slice/inro-c1.scope"],
    ["machine.slice:libpod:abc", false, "libpod-abc.scope", "/machine.slice/libpod-abc.scope"],
    [":docker:abc", false, "docker-abc.scope", "/system.slice/docker-abc.scope"],
    ["kube-pod.slice:cri:x", false, "cri-x.scope", "/kube.slice/kube-pod.slice/cri-x.scope"],
    ["-.slice:p:n", false, "p-n.scope", "/p-n.scope"],
    ["a.slice::own.slice", false, "own.slice", "/a.slice/own.slice"],
  ])("%j is %s", (path, user, name, cgroup) => {
    expect(unitOf(path, "c1", user)).toMatchObject({ name, path: cgroup });
  });

  test.each<[string, string]>([
    ["/a/b", 'to be of format "slice:prefix:name"'],
    ["a:b", 'to be of format "slice:prefix:name"'],
    ["a.slice:b:c:d", 'to be of format "slice:prefix:name"'],
    ["a:b:c", "invalid slice name: a"],
    [".slice:b:c", "invalid slice name: .slice"],
    ["-a.slice:b:c", "invalid slice name: -a.slice"],
    ["a--b.slice:b:c", "invalid slice name: a--b.slice"],
    ["a/b.slice:b:c", "invalid slice name: a/b.slice"],
    ["a.slice:b:../c", "is no name of a systemd unit"],
    ["a.slice:b:", "is no name of a systemd unit"],
    [`a.slice:b:${"c".repeat(256)}`, "is no name of a systemd unit"],
  ])("%s is refused", (path, message) => expect(() => unitOf(path, "c1", false)).toThrow(message));

  test("slices", () => expect(expandSlice("a-b-c.slice")).toBe("/a.slice/a-b.slice/a-b-c.slice"));
});

const max = 2n ** 64n - 1n;

describe("limits become properties", () => {
  test.each<[string, Resources, 1 | 2, Record<string, unknown>]>([
    ["nothing", {}, 2, {}],
    [
      "memory, v2",
      { memory: { limit: 8192, swap: 12288, reservation: 4096 } },
      2,
      { MemoryMax: 8192n, MemoryLow: 4096n, MemorySwapMax: 4096n },
    ],
    ["memory, v1", { memory: { limit: 8192, swap: 12288 } }, 1, { MemoryLimit: 8192n }],
    ["memory unlimited", { memory: { limit: -1 } }, 2, { MemoryMax: max, MemorySwapMax: max }],
    ["shares, v2", { cpu: { shares: 1024 } }, 2, { CPUWeight: 100n }],
    ["shares, v1", { cpu: { shares: 1024 } }, 1, { CPUShares: 1024n }],
    ["idle", { cpu: { idle: 1, shares: 1024 } }, 2, { CPUWeight: 0n }],
    [
      "quota",
      { cpu: { quota: 50000, period: 200000 } },
      2,
      { CPUQuotaPeriodUSec: 200000n, CPUQuotaPerSecUSec: 250000n },
    ],
    ["quota, rounded up", { cpu: { quota: 33333 } }, 2, { CPUQuotaPerSecUSec: 340000n }],
    ["no quota", { cpu: { quota: -1 } }, 2, { CPUQuotaPerSecUSec: max }],
    ["processors", { cpu: { cpus: "0-2,9", mems: "1" } }, 2, { AllowedCPUs: [7, 2], AllowedMemoryNodes: [2] }],
    ["pids", { pids: { limit: 9 } }, 2, { TasksMax: 9n }],
    ["pids unlimited", { pids: { limit: -1 } }, 2, { TasksMax: max }],
    ["weight, v1", { blockIO: { weight: 300 } }, 1, { BlockIOWeight: 300n }],
    [
      "unified",
      {
        unified: {
          "memory.high": "4096",
          "memory.max": "max",
          "cpu.max": "50000 100000",
          "cpu.weight": "7",
          "io.max": "x",
        },
      },
      2,
      { MemoryHigh: 4096n, MemoryMax: max, CPUQuotaPeriodUSec: 100000n, CPUQuotaPerSecUSec: 500000n, CPUWeight: 7n },
    ],
  ])("%s", (_, resources, version, wanted) => {
    const found = resourceProperties(resources, version, 252);
    expect(Object.fromEntries(found.map(([name, { value }]) => [name, value]))).toEqual(wanted as never);
  });

  test("an older systemd is not told what it does not know", () => {
    const names = resourceProperties({ cpu: { idle: 1, quota: 5000, period: 10000, cpus: "0" } }, 2, 241);
    expect(names.map(([name]) => name)).toEqual(["CPUQuotaPerSecUSec"]);
  });

  test.each(["", "x", "3-1", "99999"])("the list %j is refused", (list) =>
    expect(() => bits(list)).toThrow("is no list"),
  );
});

test("a scope's properties, and those of annotations", () => {
  const annotations = {
    "org.systemd.property.TimeoutStopUSec": "uint64 5",
    "org.systemd.property.CollectMode": "'inactive-or-failed'",
    "org.systemd.property.RuntimeMaxSec": "1.5",
    other: "x",
  };
  const found = [
    ...unitProperties(unitOf("a.slice:p:n", "c1", false), "c1", 42, 2),
    ...annotatedProperties(annotations),
  ];
  expect(Object.fromEntries(found)).toMatchObject({
    Slice: { signature: "s", value: "a.slice" },
    Delegate: { signature: "b", value: true },
    PIDs: { signature: "au", value: [42] },
    IOAccounting: { signature: "b", value: true },
    DefaultDependencies: { signature: "b", value: false },
    TimeoutStopUSec: { signature: "t", value: 5n },
    CollectMode: { signature: "s", value: "inactive-or-failed" },
    RuntimeMaxUSec: { signature: "t", value: 1500000n },
  });
  const wrong = (name: string, value: string) => () => annotatedProperties({ [`org.systemd.property.${name}`]: value });
  expect(wrong("a/b", "1")).toThrow("invalid property name");
  expect(wrong("ok", "1")).toThrow("invalid property name");
  expect(wrong("TimeoutStopSec", "'x'")).toThrow("is no number of seconds");
});

describe("GVariant text", () => {
  test.each<[string, Variant]>([
    ["true", { signature: "b", value: true }],
    ["5", { signature: "i", value: 5 }],
    ["-5", { signature: "i", value: -5 }],
    ["0x10", { signature: "i", value: 16 }],
    ["uint64 18446744073709551615", { signature: "t", value: max }],
    ["@t 7", { signature: "t", value: 7n }],
    ["byte 3", { signature: "y", value: 3 }],
    ["1.5", { signature: "d", value: 1.5 }],
    ["double 2", { signature: "d", value: 2 }],
    ["'a\\'b\\n'", { signature: "s", value: "a'b\n" }],
    ['"x"', { signature: "s", value: "x" }],
    ["objectpath '/a'", { signature: "o", value: "/a" }],
    ["['a', 'b']", { signature: "as", value: ["a", "b"] }],
    ["@as []", { signature: "as", value: [] }],
    ["[uint32 1, 2]", { signature: "au", value: [1, 2] }],
  ])("%s", (text, value) => expect(parseGvariant(text)).toEqual(value));
  test.each(["", "5 6", "nope", "[", "[]", "['a', 5]", "uint64 'x'", "'a", "(1, 2)", "boolean 1", "[1 2]"])(
    "%j is refused",
    (text) => expect(() => parseGvariant(text)).toThrow("is no value in GVariant's text format"),
  );
});

test("addresses", () => {
  expect(socketPaths("unix:path=/run/a%20b,guid=1;unix:abstract=/tmp/x;tcp:host=h")).toEqual(["/run/a b", "\0/tmp/x"]);
  expect(() => socketPaths("tcp:host=h")).toThrow("has no unix socket");
});
