import { existsSync, readdirSync } from "node:fs";

/** What containers see as empty: kernel interfaces that leak or control the host (Docker's defaults). */
export const MASKED_PATHS: readonly string[] = [
  "/proc/acpi",
  "/proc/asound",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/sys/devices/virtual/powercap",
  "/sys/firmware",
];

/** What containers may read but not write. */
export const READONLY_PATHS: readonly string[] = [
  "/proc/bus",
  "/proc/fs",
  "/proc/irq",
  "/proc/sys",
  "/proc/sysrq-trigger",
];

/** {@link MASKED_PATHS} and the thermal_throttle directory of every CPU under `cpus` that has one. */
export function maskedPaths(cpus = "/sys/devices/system/cpu"): string[] {
  let names: string[];
  try {
    names = readdirSync(cpus);
  } catch {
    names = [];
  }
  const throttles = names
    .filter((name) => /^cpu\d+$/.test(name))
    .sort((a, b) => Number(a.slice(3)) - Number(b.slice(3)))
    .map((name) => `${cpus}/${name}/thermal_throttle`)
    .filter((path) => existsSync(path));
  return [...MASKED_PATHS, ...throttles];
}
