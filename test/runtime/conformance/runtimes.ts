import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { type Command, compiled } from "../bundle.ts";
import { install, startResident } from "../resident.ts";
import type { Kind } from "./case.ts";

export interface Named {
  /** As it was named. */
  name: string;
  kind: Kind;
  /** First line of its --version. */
  version: string;
  /** Absent: this checkout's, to be {@link build | built}. */
  command?: Command;
}

/**
 * This checkout's runtime, compiled into `directory`, with a resident that does its calls, and is to be ended; where
 * INRO_RUNTIME names one, that. With INRO_RESIDENT=0 each call is done alone, which takes ten times as long.
 */
export async function build(directory: string): Promise<{ command: Command; resident?: Bun.Subprocess }> {
  const given = process.env.INRO_RUNTIME;
  if (given) return { command: compiled(given) };
  const installed = await install(directory);
  return { command: { argv: [installed.front] }, resident: await startResident(installed) };
}

/** `inro` is this checkout; `crun` and `runc` are looked up in PATH; anything else is a path. Undefined: not there. */
export function runtimeNamed(name: string): Named | undefined {
  if (name === "inro") return { name, kind: "inro", version: "inro-runtime of this checkout" };
  const path = Bun.which(name);
  if (path === null) return undefined;
  const kind = (["crun", "runc"] as const).find((known) => basename(path).startsWith(known)) ?? "inro";
  const { stdout } = spawnSync(path, ["--version"], { encoding: "utf8" });
  const argv = kind === "crun" && crunRefusesCgroups() ? [...WITHOUT_CGROUP2, path] : [path];
  return { name, kind, version: stdout.split("\n")[0]!, command: { argv } };
}

/** crun refuses a machine whose cgroup2 tree beside v1 has controllers of its own: it gets a view without that tree. */
const HIDDEN = "/sys/fs/cgroup/unified";
const WITHOUT_CGROUP2 = [
  ...["/bin/busybox", "unshare", "-m", "--propagation", "private", "/bin/busybox", "sh", "-c"],
  ...[`/bin/busybox umount -l ${HIDDEN} && exec "$@"`, "sh"],
];

function crunRefusesCgroups(): boolean {
  const controllers = `${HIDDEN}/cgroup.controllers`;
  return existsSync(controllers) && readFileSync(controllers, "utf8").trim() !== "";
}
