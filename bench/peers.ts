import { existsSync } from "node:fs";
import { join } from "node:path";
import { installed, output } from "./command.ts";
import type { Absent } from "./subject.ts";
import { crunRefusesCgroups, type OciRuntime } from "./subjects/oci.ts";

/** inro-runtime, crun and runc, as far as they are there. */
export function ociRuntimes(inro: string): { present: OciRuntime[]; absent: Absent[] } {
  const present: OciRuntime[] = [];
  const absent: Absent[] = [];
  const add = (name: string, open: () => Omit<OciRuntime, "name">) => {
    try {
      present.push({ name, ...open() });
    } catch (error) {
      absent.push({ name, absent: error instanceof Error ? error.message : String(error) });
    }
  };
  add("inro-runtime", () => ({ binary: inroRuntime(inro), old: false, hideCgroup2: false }));
  add("crun", () => ({ binary: installed("crun"), old: !knows("crun", "time"), hideCgroup2: crunRefusesCgroups() }));
  add("runc", () => ({ binary: installed("runc"), old: !knows("runc", "time"), hideCgroup2: false }));
  return { present, absent };
}

/** Whether a runtime's features (features.md of the specification) have this namespace; one without the command is old. */
function knows(runtime: string, namespace: string): boolean {
  try {
    return JSON.parse(output([installed(runtime), "features"])).linux.namespaces.includes(namespace);
  } catch {
    return false;
  }
}

function inroRuntime(inro: string): string {
  const path = join(inro, "../inro-runtime");
  if (!existsSync(path)) throw new Error(`${path} is not built`);
  return path;
}
