import { type Controller, INT64_MAX, integer } from "./controller.ts";

const write: NonNullable<Controller["v1"]> = (directory, { pids: p }) => {
  if (p?.limit === undefined) return;
  const limit = integer("pids limit", p.limit, -1, INT64_MAX);
  // A container is at least one process: 0 could only mean one that never starts.
  directory.write("pids.max", limit === "-1" ? "max" : limit === "0" ? "1" : limit);
};

/** Kernel: cgroup-v1/pids.rst, cgroup-v2.rst "PID". -1 is unlimited. */
export const pids: Controller = {
  v1Name: "pids",
  v2Name: "pids",
  needed: ({ pids: p }) => p?.limit !== undefined,
  v1: write,
  v2: write,
};
