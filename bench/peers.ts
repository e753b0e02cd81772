import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Spec } from "../src/spec/oci-runtime.ts";
import { installed, output } from "./command.ts";
import { type Absent, attempt, type Subject } from "./subject.ts";
import { crunRefusesCgroups, type OciOptions, ociSubject } from "./subjects/oci.ts";
import type { Workspace } from "./workspace.ts";

/** The OCI runtimes: each with and without seccomp, on an overlay that is there and on one of its own. */
export async function ociPeers(
  workspace: Workspace,
  spec: Spec,
  lower: string,
  inro: string,
): Promise<(Subject | Absent)[]> {
  const plain = structuredClone(spec);
  delete plain.linux!.seccomp;
  const runtimes = [
    {
      runtime: "crun",
      binary: () => installed("crun"),
      old: !knows("crun", "time"),
      hideCgroup2: crunRefusesCgroups(),
    },
    { runtime: "runc", binary: () => installed("runc"), old: !knows("runc", "time") },
    { runtime: "inro-runtime", binary: () => inroRuntime(inro), old: false },
  ];
  const subjects: (Subject | Absent)[] = [];
  for (const { runtime, binary, ...options } of runtimes) {
    const add = async (name: string, more: Partial<OciOptions>) => {
      const open = () =>
        ociSubject(workspace, {
          ...options,
          ...{ name, binary: binary(), spec, lower, overlay: false },
          ...more,
        });
      subjects.push(await attempt(name, open));
    };
    await add(`${runtime} run`, {});
    await add(`${runtime} run, no seccomp`, { spec: plain });
    await add(`${runtime} run, own overlay`, { overlay: true });
  }
  return subjects;
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
