import { conflict, invalid, unavailable } from "../../base/errors.ts";
import type { Cgroup } from "../../cgroups/cgroup.ts";
import { type OomWatch, watchOomV1, watchOomV2 } from "../../cgroups/oom.ts";
import { close } from "../../linux/file.ts";
import { POLLIN, poll } from "../../linux/poll.ts";
import { noCgroup, openCgroup } from "./cgroup.ts";
import { print } from "./commands.ts";
import { openProcess } from "./delete.ts";
import { StateDirectory } from "./state.ts";
import { encodeJson } from "./stats/figures.ts";
import { statsOf } from "./stats/stats.ts";

/**
 * Prints one line of JSON an event, runc's: `stats` every `interval` ms, `oom` when the kernel killed a process for lack
 * of memory. Blocks until the container ends; with `once` it prints its stats and is done.
 */
export function events(root: string, id: string, interval: number, once: boolean): void {
  const directory = new StateDirectory(root, id);
  const state = directory.read();
  const cgroup = openCgroup(state.cgroup);
  const pidfd = openProcess(state);
  if (pidfd === undefined) throw conflict(`container with id ${id} is not running`);
  const line = (type: string, data?: Parameters<typeof encodeJson>[0]) =>
    print(`${encodeJson({ type, id, ...(data !== undefined && { data }) })}\n`);
  let oom: OomWatch | undefined;
  try {
    if (!state.cgroup) throw noCgroup("count in", id);
    if (!cgroup) throw unavailable(`container ${id} has no cgroup ${state.cgroup} to count in`);
    if (once) {
      line("stats", statsOf(cgroup, state.pid, state.rdt));
      return;
    }
    oom = watchOom(cgroup);
    let next = performance.now() + interval;
    for (;;) {
      const wait = Math.max(0, next - performance.now());
      const [ended] = poll([[pidfd, POLLIN], ...(oom ? [[oom.fd, oom.events] as const] : [])], wait);
      if (oom?.happened()) line("oom");
      if (ended) return;
      if (performance.now() < next) continue;
      line("stats", statsOf(cgroup, state.pid, state.rdt));
      next += interval;
    }
  } finally {
    close(pidfd);
    oom?.close();
  }
}

/** undefined where nothing accounts its memory. */
function watchOom(cgroup: Cgroup): OomWatch | undefined {
  const memory = cgroup.directoryOf({ v1: "memory", v2: "memory" });
  if (memory === undefined) return undefined;
  return memory.version === 1 ? watchOomV1(memory.directory) : watchOomV2(memory.directory);
}

const UNITS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Milliseconds of Go's `1m30s`, `100ms`; more than 0. */
export function parseDuration(text: string): number {
  if (!/^\+?(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)((\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h))*$/.test(text) && text !== "0") {
    throw invalid(`invalid value ${JSON.stringify(text)} for --interval: must be a duration such as 5s or 100ms`);
  }
  let sum = 0;
  for (const [, number, unit] of text.matchAll(/([\d.]+)(ns|us|µs|ms|s|m|h)/g)) sum += Number(number) * UNITS[unit!]!;
  if (sum <= 0) throw invalid("duration interval must be greater than 0");
  return sum;
}
