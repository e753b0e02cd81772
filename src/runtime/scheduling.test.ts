import { describe, expect, test } from "bun:test";
import type { Linux, Process } from "../spec/oci-runtime.ts";
import { parseBitList } from "./cpu-list.ts";
import { memoryPolicyArguments, personalityNumber } from "./execution.ts";
import { ioPriorityValue, schedulerAttributes } from "./scheduling.ts";

type Scheduler = NonNullable<Process["scheduler"]>;
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

describe("struct sched_attr", () => {
  const zero = "00".repeat(32);
  // biome-ignore format: a table
  test.each<[Scheduler, string]>([
    [{ policy: "SCHED_OTHER", nice: -5 },                 `38000000000000000000000000000000fbffffff00000000${zero}`],
    [{ policy: "SCHED_FIFO", priority: 7 },               `380000000100000000000000000000000000000007000000${zero}`],
    [{ policy: "SCHED_RR", priority: 99 },                `380000000200000000000000000000000000000063000000${zero}`],
    [{ policy: "SCHED_BATCH", nice: 19 },                 `380000000300000000000000000000001300000000000000${zero}`],
    [{ policy: "SCHED_ISO" },                             `380000000400000000000000000000000000000000000000${zero}`],
    [{ policy: "SCHED_IDLE", flags: ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_UTIL_CLAMP_MAX"] },
                                                          `380000000500000041000000000000000000000000000000${zero}`],
    [{ policy: "SCHED_DEADLINE", runtime: 10, deadline: 20, period: 2 ** 40 },
      `3800000006000000000000000000000000000000000000000a0000000000000014000000000000000000000000010000${"00".repeat(8)}`],
  ])("%j", (scheduler, bytes) => expect(hex(schedulerAttributes(scheduler))).toBe(bytes));

  // biome-ignore format: a table
  test.each<[Scheduler, string]>([
    [{ policy: "SCHED_NORMAL" },                          'process.scheduler.policy: unknown "SCHED_NORMAL"'],
    [{ policy: "SCHED_OTHER", flags: ["RECLAIM"] },       'process.scheduler.flags: unknown "RECLAIM"'],
    [{ policy: "SCHED_OTHER", nice: 20 },                 "process.scheduler.nice: 20 is not from -20 to 19"],
    [{ policy: "SCHED_FIFO", nice: 1 },                   "nice: only for SCHED_OTHER and SCHED_BATCH"],
    [{ policy: "SCHED_OTHER", priority: 1 },              "priority: only for SCHED_FIFO and SCHED_RR"],
    [{ policy: "SCHED_RR", priority: 1, period: 1 },      "only for SCHED_DEADLINE, not for SCHED_RR"],
  ])("%j is refused", (scheduler, message) => expect(() => schedulerAttributes(scheduler)).toThrow(message));
});

test.each([
  [{ class: "IOPRIO_CLASS_RT", priority: 0 }, 0x2000],
  [{ class: "IOPRIO_CLASS_BE", priority: 7 }, 0x4007],
  [{ class: "IOPRIO_CLASS_IDLE", priority: 0 }, 0x6000],
])("ioPriority %j", (ioPriority, value) => expect(ioPriorityValue(ioPriority)).toBe(value));

test.each([
  ["0", "0100000000000000"],
  ["0-3,7", "8f00000000000000"],
  [" 1 , 63-64", "02000000000000800100000000000000"],
])("the list %j", (list, bits) => expect(hex(parseBitList("cpus", list, 8192))).toBe(bits));

// biome-ignore format: a table
test.each([
  ["",        'cpus: "" is no list'],
  ["0,",      'cpus: "0," is no list'],
  ["-1",      'cpus: "-1" is no list'],
  ["a",       'cpus: "a" is no list'],
  ["3-1",     "cpus: the range 3-1 goes backwards"],
  ["0-8192",  "cpus: 8192 is over 8191"],
  ["0-99999", "cpus: 99999 is over 8191"],
])("the list %j is refused", (list, message) => expect(() => parseBitList("cpus", list, 8192)).toThrow(message));

type Policy = NonNullable<Linux["memoryPolicy"]>;
// biome-ignore format: a table
test.each<[Policy, number, string]>([
  [{ mode: "MPOL_DEFAULT" },                                                      0,      ""],
  [{ mode: "MPOL_PREFERRED" },                                                    1,      ""],
  [{ mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_STATIC_NODES"] },             0x8002, "0100000000000000"],
  [{ mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_NUMA_BALANCING"] },           0x2002, "0100000000000000"],
  [{ mode: "MPOL_INTERLEAVE", nodes: "0-1", flags: ["MPOL_F_RELATIVE_NODES"] },   0x4003, "0300000000000000"],
  [{ mode: "MPOL_LOCAL" },                                                        4,      ""],
  [{ mode: "MPOL_PREFERRED_MANY", nodes: "1" },                                   5,      "0200000000000000"],
  [{ mode: "MPOL_WEIGHTED_INTERLEAVE", nodes: "0" },                              6,      "0100000000000000"],
])("memoryPolicy %j", (policy, mode, nodes) => {
  const encoded = memoryPolicyArguments(policy);
  expect([encoded.mode, hex(encoded.nodes)]).toEqual([mode, nodes]);
});

// biome-ignore format: a table
test.each<[Policy, string]>([
  [{ mode: "BIND" },                                  'linux.memoryPolicy.mode: unknown "BIND"'],
  [{ mode: "MPOL_BIND" },                             "linux.memoryPolicy.nodes: MPOL_BIND needs some"],
  [{ mode: "MPOL_LOCAL", nodes: "0" },                "linux.memoryPolicy.nodes: MPOL_LOCAL takes none"],
  [{ mode: "MPOL_BIND", nodes: "x" },                 'linux.memoryPolicy.nodes: "x" is no list'],
  [{ mode: "MPOL_BIND", nodes: "0", flags: ["A"] },   'linux.memoryPolicy.flags: unknown "A"'],
  [{ mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"] }, "exclude each other"],
])("memoryPolicy %j is refused", (policy, message) => expect(() => memoryPolicyArguments(policy)).toThrow(message));

test("personality", () => {
  expect([personalityNumber({ domain: "LINUX" }), personalityNumber({ domain: "LINUX32" })]).toEqual([0, 8]);
  expect(() => personalityNumber({ domain: "LINUX64" })).toThrow('linux.personality.domain: unknown "LINUX64"');
  expect(() => personalityNumber({ domain: "LINUX", flags: ["X"] })).toThrow('linux.personality.flags: unknown "X"');
});
