import { invalid } from "../base/errors.ts";
import type { Process } from "../spec/oci-runtime.ts";
import type { Builder } from "./builder.ts";
import { parseBitList } from "./cpu-list.ts";

/** process.scheduler, ioPriority and execCPUAffinity (config.md): how the kernel shares processors and disks. */

type Scheduler = NonNullable<Process["scheduler"]>;

/** Numbers of linux/sched.h; the index is the number. */
const POLICIES = "OTHER FIFO RR BATCH ISO IDLE DEADLINE".split(" ").map((name) => `SCHED_${name}`);
const FLAGS = "RESET_ON_FORK RECLAIM DL_OVERRUN KEEP_POLICY KEEP_PARAMS UTIL_CLAMP_MIN UTIL_CLAMP_MAX"
  .split(" ")
  .map((name) => `SCHED_FLAG_${name}`);

/** struct sched_attr (sched_setattr(2)), 56 bytes. What contradicts itself is an invalid-argument error. */
export function schedulerAttributes(scheduler: Scheduler): Uint8Array {
  const { policy, nice = 0, priority = 0, runtime = 0, deadline = 0, period = 0 } = scheduler;
  const at = "process.scheduler";
  const number = POLICIES.indexOf(policy);
  if (number < 0) throw invalid(`${at}.policy: unknown ${JSON.stringify(policy)}; known: ${POLICIES.join(" ")}`);
  if (nice < -20 || nice > 19) throw invalid(`${at}.nice: ${nice} is not from -20 to 19`);
  if (nice !== 0 && policy !== "SCHED_OTHER" && policy !== "SCHED_BATCH") {
    throw invalid(`${at}.nice: only for SCHED_OTHER and SCHED_BATCH, not for ${policy}`);
  }
  if (priority !== 0 && policy !== "SCHED_FIFO" && policy !== "SCHED_RR") {
    throw invalid(`${at}.priority: only for SCHED_FIFO and SCHED_RR, not for ${policy}`);
  }
  if ((runtime || deadline || period) && policy !== "SCHED_DEADLINE") {
    throw invalid(`${at}: runtime, deadline and period are only for SCHED_DEADLINE, not for ${policy}`);
  }
  let flags = 0n;
  for (const flag of scheduler.flags ?? []) {
    const bit = FLAGS.indexOf(flag);
    if (bit < 0) throw invalid(`${at}.flags: unknown ${JSON.stringify(flag)}; known: ${FLAGS.join(" ")}`);
    flags |= 1n << BigInt(bit);
  }
  const attr = Buffer.alloc(56);
  attr.writeUInt32LE(attr.length, 0);
  attr.writeUInt32LE(number, 4);
  attr.writeBigUInt64LE(flags, 8);
  attr.writeInt32LE(nice, 16);
  attr.writeUInt32LE(priority, 20);
  for (const [i, ns] of [runtime, deadline, period].entries()) attr.writeBigUInt64LE(BigInt(ns), 24 + i * 8);
  return attr;
}

/** From 1 on, as ioprio_set(2) numbers them. */
const IO_CLASSES = ["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"];

/** IOPRIO_PRIO_VALUE (linux/ioprio.h). */
export function ioPriorityValue({ class: name, priority }: NonNullable<Process["ioPriority"]>): number {
  const at = "process.ioPriority";
  const number = IO_CLASSES.indexOf(name) + 1;
  if (number === 0) throw invalid(`${at}.class: unknown ${JSON.stringify(name)}; known: ${IO_CLASSES.join(" ")}`);
  if (priority < 0 || priority > 7) throw invalid(`${at}.priority: ${priority} is not from 0 to 7`);
  return (number << 13) | priority;
}

/** CONFIG_NR_CPUS has no higher value anywhere. */
const MAX_CPUS = 8192;

/** Invalid-argument errors for what {@link schedule} and {@link setAffinity} could not encode. */
export function checkScheduling(process: Process): void {
  if (process.scheduler) schedulerAttributes(process.scheduler);
  if (process.ioPriority) ioPriorityValue(process.ioPriority);
  for (const when of ["initial", "final"] as const) {
    const list = process.execCPUAffinity?.[when];
    if (list) parseBitList(`process.execCPUAffinity.${when}`, list, MAX_CPUS);
  }
}

/** Whether what {@link schedule} sets would reach a child too: only then can it be set before clone3. */
export function isInherited({ scheduler }: Process): boolean {
  return scheduler?.policy !== "SCHED_DEADLINE" && !scheduler?.flags?.includes("SCHED_FLAG_RESET_ON_FORK");
}

/** Needs CAP_SYS_NICE of the initial user namespace for more than an ordinary process has. */
export function schedule(p: Builder, { scheduler, ioPriority }: Process): void {
  if (scheduler) {
    const attr = p.bytes(schedulerAttributes(scheduler), scheduler.policy);
    p.call("process.scheduler", "sched_setattr", [0, attr, 0]);
  }
  if (ioPriority) {
    const { class: name, priority } = ioPriority;
    p.call(`process.ioPriority ${name} ${priority}`, "ioprio_set", [WHO_PGRP, 0, ioPriorityValue(ioPriority)]);
  }
}

const WHO_PGRP = 2;

/** sched_setaffinity(2) to a list of processors, if there is one. */
export function setAffinity(p: Builder, when: "initial" | "final", process: Process): void {
  const list = process.execCPUAffinity?.[when];
  if (!list) return;
  const why = `process.execCPUAffinity.${when}`;
  const mask = parseBitList(why, list, MAX_CPUS);
  p.call(why, "sched_setaffinity", [0, mask.length, p.bytes(mask, list)]);
}
