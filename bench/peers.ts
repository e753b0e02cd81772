import { existsSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { front } from "../src/program/front.ts";
import { MACHINE } from "../src/program/machine.ts";
import { RESIDENT } from "../src/runtime/resident/door.ts";
import { environment, installed, output } from "./command.ts";
import { PrivateMounts } from "./private-mounts.ts";
import type { Absent } from "./subject.ts";
import { crunRefusesCgroups, type OciRuntime } from "./subjects/oci.ts";
import type { Workspace } from "./workspace.ts";

/** Ours in the tables: with a resident, and each call a start of its own. */
export const OWN = "inro-runtime";
const ALONE = "inro-runtime alone";
export const isOwn = (name: string): boolean => name === OWN || name === ALONE;

/** inro-runtime with its resident and without, crun and runc, as far as they are there. */
export async function ociRuntimes(
  workspace: Workspace,
  inro: string,
): Promise<{ present: OciRuntime[]; absent: Absent[] }> {
  const present: OciRuntime[] = [];
  const absent: Absent[] = [];
  const add = async (name: string, open: () => Omit<OciRuntime, "name"> | Promise<Omit<OciRuntime, "name">>) => {
    try {
      present.push({ name, ...(await open()) });
    } catch (error) {
      absent.push({ name, absent: error instanceof Error ? error.message : String(error) });
    }
  };
  const usual = { old: false, hideCgroup2: false };
  await add(OWN, async () => ({ ...usual, ...(await resident(workspace, inro)) }));
  await add(ALONE, () => ({ ...usual, binary: built(inro), env: { INRO_DOOR: "inro-runtime" } }));
  await add("crun", () => ({
    binary: installed("crun"),
    old: !knows("crun", "time"),
    hideCgroup2: crunRefusesCgroups(),
  }));
  await add("runc", () => ({ ...usual, binary: installed("runc"), old: !knows("runc", "time") }));
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

/** As dist/inro-runtime, with a socket of its own and a resident that sees the mounts of its bundles. */
async function resident(workspace: Workspace, inro: string): Promise<Pick<OciRuntime, "binary" | "beside">> {
  const dir = workspace.directory("resident");
  const [binary, program, socket] = ["inro-runtime", "inro", "socket/sock"].map((name) => join(dir, name)) as Three;
  symlinkSync(built(inro), program);
  writeFileSync(binary, front(MACHINE, { socket, absent: "inro-runtime", refused: "inro-runtime" }), { mode: 0o755 });
  const mounts = new PrivateMounts(join(dir, "stderr"));
  workspace.undo("the resident's mounts", () => mounts.close());
  const pid = await mounts.start([program, socket], RESIDENT, environment());
  workspace.undo("the resident", () => {
    // It may have left by itself, after a minute.
    if (existsSync(`/proc/${pid}`)) process.kill(pid);
  });
  for (const end = performance.now() + START_MS; !existsSync(socket); await Bun.sleep(5)) {
    if (performance.now() > end) throw new Error("the resident does not listen");
  }
  return { binary, beside: { mounts, pid } };
}

type Three = [string, string, string];
const START_MS = 10_000;

function built(path: string): string {
  if (!existsSync(path)) throw new Error(`${path} is not built`);
  return realpathSync(path);
}
