import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MASKED_PATHS, maskedPaths, READONLY_PATHS } from "./paths.ts";

const dir = mkdtempSync(join(tmpdir(), "inro-paths-"));
afterAll(() => rmSync(dir, { recursive: true }));

test("every CPU's thermal_throttle is masked where there is one", () => {
  for (const cpu of ["cpu10", "cpu2", "cpufreq"]) mkdirSync(join(dir, cpu, "thermal_throttle"), { recursive: true });
  mkdirSync(join(dir, "cpu3"));
  expect(maskedPaths(dir)).toEqual([...MASKED_PATHS, `${dir}/cpu2/thermal_throttle`, `${dir}/cpu10/thermal_throttle`]);
  expect(maskedPaths(join(dir, "none"))).toEqual([...MASKED_PATHS]);
});

test("the fixed lists", () => {
  expect(MASKED_PATHS).toHaveLength(12);
  for (const path of ["/proc/kcore", "/proc/keys", "/sys/firmware", "/sys/devices/virtual/powercap"]) {
    expect(MASKED_PATHS).toContain(path);
  }
  expect(READONLY_PATHS).toEqual(["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]);
});
