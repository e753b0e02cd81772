import { expect } from "bun:test";
import { section } from "../case.ts";

const { shows, refuses, does } = section("config.md#posix-process");

/** Name of the type, and the row's name in /proc/PID/limits. Values below what a plain root process may have. */
const TYPES: readonly [type: string, row: string, soft: number, hard: number][] = [
  ["AS", "Max address space", 1 << 30, 2 ** 31],
  ["CORE", "Max core file size", 0, 4096],
  ["CPU", "Max cpu time", 100, 200],
  ["DATA", "Max data size", 1 << 29, 1 << 30],
  ["FSIZE", "Max file size", 1 << 20, 1 << 21],
  ["LOCKS", "Max file locks", 10, 20],
  ["MEMLOCK", "Max locked memory", 4096, 8192],
  ["MSGQUEUE", "Max msgqueue size", 1000, 2000],
  ["NICE", "Max nice priority", 0, 0],
  ["NOFILE", "Max open files", 100, 200],
  ["NPROC", "Max processes", 50, 60],
  ["RSS", "Max resident set", 1 << 28, 1 << 29],
  ["RTPRIO", "Max realtime priority", 0, 0],
  ["RTTIME", "Max realtime timeout", 1000, 2000],
  ["SIGPENDING", "Max pending signals", 30, 40],
  ["STACK", "Max stack size", 1 << 20, 1 << 21],
];

const rlimits = (...list: object[]) => ({ process: { rlimits: list } });

export const rlimitCases = [
  ...TYPES.map(([type, row, soft, hard]) =>
    shows(
      `process.rlimits RLIMIT_${type}`,
      rlimits({ type: `RLIMIT_${type}`, soft, hard }),
      "cat /proc/self/limits",
      new RegExp(`^${row} +${soft} +${hard} `, "m"),
    ),
  ),
  does("process.rlimits: 2^64-1 is unlimited", async (c) => {
    const container = c.container("cat /proc/self/limits", rlimits({ type: "RLIMIT_CPU", soft: 4711, hard: 4711 }));
    // Beyond what a number of JavaScript holds.
    c.edit(container, (text) => text.replaceAll("4711", "18446744073709551615"));
    expect((await container.launch("run")).out).toMatch(/^Max cpu time +unlimited +unlimited /m);
  }),
  refuses(
    "process.rlimits: unknown type",
    rlimits({ type: "RLIMIT_NOPE", soft: 1, hard: 1 }),
    /rlimits\[0\]\.type: unknown "RLIMIT_NOPE"/,
  ),
  refuses(
    "process.rlimits: a type twice",
    rlimits({ type: "RLIMIT_NOFILE", soft: 64, hard: 64 }, { type: "RLIMIT_NOFILE", soft: 65, hard: 65 }),
    /rlimits: RLIMIT_NOFILE twice/,
  ),
  refuses(
    "process.rlimits: soft over hard",
    rlimits({ type: "RLIMIT_NOFILE", soft: 65, hard: 64 }),
    /soft 65 is over hard 64/,
  ),
  refuses(
    "process.rlimits: no number",
    rlimits({ type: "RLIMIT_NOFILE", soft: "x", hard: 64 }),
    /rlimits\[0\]\.soft: must be a number/,
    { differs: { crun: "takes it as 0" } },
  ),
];
