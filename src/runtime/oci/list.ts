import { statSync } from "node:fs";
import { join } from "node:path";
import { userName } from "../../linux/rights.ts";
import { isPaused, openCgroup } from "./cgroup.ts";
import type { Globals } from "./commands.ts";
import { listIds, StateDirectory, type Status } from "./state.ts";

/** What `state` prints: the specification's state, and the fields that runc adds. */
export interface Description {
  ociVersion: string;
  id: string;
  pid: number;
  status: Status;
  bundle: string;
  rootfs: string;
  created: string;
  annotations?: Record<string, string>;
  /** Filled in by {@link list} alone, as by runc's. */
  owner: string;
}

export function describe(root: string, id: string): Description {
  const directory = new StateDirectory(root, id);
  const state = directory.read();
  let status: Status = directory.status(state);
  if (status === "running" && isPaused(openCgroup(state.cgroup))) status = "paused";
  return {
    ociVersion: state.ociVersion,
    id: state.id,
    pid: status === "stopped" ? 0 : state.pid,
    status,
    bundle: state.bundle,
    rootfs: state.rootfs,
    created: state.created,
    ...(Object.keys(state.annotations).length > 0 && { annotations: state.annotations }),
    owner: "",
  };
}

export function list(globals: Globals, format: "table" | "json", quiet: boolean): string {
  const found: Description[] = [];
  for (const id of listIds(globals.root, globals.rootGiven)) {
    try {
      const { uid } = statSync(join(globals.root, id));
      found.push({ ...describe(globals.root, id), owner: userName(uid) ?? `#${uid}` });
    } catch (error) {
      globals.warn(`${id}: ${error instanceof Error ? error.message : error}`);
    }
  }
  if (quiet) return found.map(({ id }) => `${id}\n`).join("");
  // runc's null, for callers that tell it from an empty list.
  if (format === "json") return JSON.stringify(found.length > 0 ? found : null);
  const rows = [
    ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"],
    ...found.map((c) => [c.id, String(c.pid), c.status, c.bundle, c.created, c.owner]),
  ];
  const widths = rows[0]!.map((_, i) => Math.max(12, ...rows.map((row) => row[i]!.length + 3)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i]!))
          .join("")
          .trimEnd()}\n`,
    )
    .join("");
}
