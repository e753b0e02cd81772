import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  availableCapabilities,
  CAPABILITIES,
  capabilityNumber,
  DEFAULT_CAPABILITIES,
  lastCapability,
  normalizeCapability,
  resolveCapabilities,
} from "./capabilities.ts";

const dir = mkdtempSync(join(tmpdir(), "inro-capabilities-"));
afterAll(() => rmSync(dir, { recursive: true }));

test("names and numbers", () => {
  expect(CAPABILITIES).toHaveLength(41);
  for (const [name, number] of [
    ["CAP_CHOWN", 0],
    ["CAP_KILL", 5],
    ["CAP_SYS_ADMIN", 21],
    ["CAP_CHECKPOINT_RESTORE", 40],
  ] as const) {
    expect(CAPABILITIES[number]).toBe(name);
    expect(capabilityNumber(name)).toBe(number);
  }
  expect(capabilityNumber("SYS_ADMIN")).toBeUndefined();
});

test("the 14 defaults, in number order", () => {
  expect(DEFAULT_CAPABILITIES.map((c) => c.slice(4)).sort()).toEqual(
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_CHROOT".split(
      " ",
    ),
  );
  expect(DEFAULT_CAPABILITIES.map((c) => capabilityNumber(c)!)).toEqual(
    DEFAULT_CAPABILITIES.map((c) => capabilityNumber(c)!).toSorted((a, b) => a - b),
  );
});

test("any spelling is normalized, an unknown name names its neighbour", () => {
  for (const name of ["net_admin", "NET_ADMIN", "cap_Net_Admin"])
    expect(normalizeCapability(name)).toBe("CAP_NET_ADMIN");
  expect(() => normalizeCapability("net_amdin")).toThrow(
    'unknown capability "net_amdin" (did you mean CAP_NET_ADMIN?)',
  );
  expect(() => normalizeCapability("")).toThrow('unknown capability ""');
});

describe("of a container", () => {
  const resolve = (request: { add?: string[]; drop?: string[]; privileged?: boolean; available?: readonly string[] }) =>
    resolveCapabilities({ add: [], drop: [], privileged: false, available: CAPABILITIES, ...request });

  test("defaults, minus drops, plus adds", () => {
    expect(resolve({})).toEqual([...DEFAULT_CAPABILITIES]);
    expect(resolve({ add: ["sys_time"], drop: ["NET_RAW", "cap_mknod"] })).toEqual(
      CAPABILITIES.filter(
        (c) => (DEFAULT_CAPABILITIES.includes(c) && !/NET_RAW|MKNOD/.test(c)) || c === "CAP_SYS_TIME",
      ),
    );
    expect(resolve({ add: ["NET_RAW"], drop: ["NET_RAW"] })).toContain("CAP_NET_RAW");
  });
  test("ALL", () => {
    expect(resolve({ add: ["all"] })).toEqual([...CAPABILITIES]);
    expect(resolve({ add: ["ALL"], drop: ["SYS_ADMIN"] })).toEqual(CAPABILITIES.filter((c) => c !== "CAP_SYS_ADMIN"));
    expect(resolve({ drop: ["ALL"] })).toEqual([]);
    expect(resolve({ drop: ["ALL"], add: ["setuid", "chown"] })).toEqual(["CAP_CHOWN", "CAP_SETUID"]);
    expect(resolve({ add: ["ALL"], drop: ["ALL"] })).toEqual([...CAPABILITIES]);
  });
  test("no more than the engine has", () => {
    const available = ["CAP_CHOWN", "CAP_SYS_ADMIN"];
    expect(resolve({ available })).toEqual(["CAP_CHOWN"]);
    expect(resolve({ available, privileged: true, drop: ["ALL"] })).toEqual(available);
    expect(resolve({ available, add: ["ALL"] })).toEqual(available);
    expect(() => resolve({ available, add: ["BPF"] })).toThrow(
      "CAP_BPF is not supported by the kernel or not available",
    );
    expect(() => resolve({ add: ["BFP"] })).toThrow("did you mean CAP_BPF?");
  });
});

describe("of the engine", () => {
  test("are those both permitted and bounding that the kernel knows", () => {
    const status = join(dir, "status");
    writeFileSync(status, "Name:\tx\nCapPrm:\t000001ff00000007\nCapEff:\t0\nCapBnd:\t000001fe00000005\n");
    const high = CAPABILITIES.filter((_, n) => n >= 33);
    expect(availableCapabilities(status, 40)).toEqual(["CAP_CHOWN", "CAP_DAC_READ_SEARCH", ...high]);
    expect(availableCapabilities(status, 32)).toEqual(["CAP_CHOWN", "CAP_DAC_READ_SEARCH"]);
  });
  test("are read from the kernel", () => {
    expect(lastCapability()).toBeGreaterThanOrEqual(40);
    if (process.getuid?.() === 0) expect(availableCapabilities()).toContain("CAP_CHOWN");
  });
});
