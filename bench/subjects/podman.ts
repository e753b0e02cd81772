import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { IMAGE } from "../busybox.ts";
import { environment, installed, output } from "../command.ts";
import { PrivateMounts } from "../private-mounts.ts";
import type { Subject } from "../subject.ts";
import { removeCgroup, type Workspace } from "../workspace.ts";
import { crunRefusesCgroups } from "./oci.ts";

/** Podman with all its state in the workspace, and its mounts in a namespace of their own. */
export interface Podman {
  readonly version: string;
  readonly runtime: string;
  /** A podman command to its end, in ms. */
  run(...argv: string[]): Promise<number>;
  /** Arguments of `run` for a container like the others. */
  readonly runOptions: readonly string[];
}

export async function openPodman(workspace: Workspace, tar: Uint8Array): Promise<Podman> {
  const podman = installed("podman");
  installed("conmon");
  const dir = workspace.directory("podman");
  const runtime = Bun.which("crun") ? "crun" : "runc";
  const command = [
    ...[podman, "--root", join(dir, "root"), "--runroot", workspace.runDirectory("podman")],
    ...["--tmpdir", join(dir, "tmp")],
    ...["--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", installed(runtime)],
    ...["--network-config-dir", join(dir, "net"), "--storage-driver", "overlay"],
  ];
  const mounts = new PrivateMounts(join(dir, "stderr"));
  const run = async (...argv: string[]) => (await mounts.run([[...command, ...argv]], dir, environment())).ms;
  if (runtime === "crun" && crunRefusesCgroups()) await mounts.unmount("/sys/fs/cgroup/unified");
  const parents = hierarchies().map((path) => join(path, "libpod_parent"));
  const before = parents.filter((path) => existsSync(path));
  workspace.undo("podman's cgroups", () => {
    for (const path of parents) if (!before.includes(path)) removeCgroup(path);
  });
  workspace.undo("podman's namespace", () => mounts.close());
  workspace.undo("podman's containers", () => run("rm", "--all", "--force", "--time", "0"));
  const file = join(dir, "root.tar");
  writeFileSync(file, tar);
  await run("import", file, IMAGE);
  const runOptions = ["--network", "none", "--cgroup-parent", `/${workspace.cgroup}`, ...LIMITS];
  return { version: output([podman, "--version"]), runtime, run, runOptions };
}

function hierarchies(): string[] {
  const root = "/sys/fs/cgroup";
  return readdirSync(root, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? [join(root, e.name)] : []));
}

/** Podman asks for more than the hard limits, which fails where root may not raise them: small ones always do. */
const LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"];

/** `podman run --rm --network none IMAGE true`. */
export async function podmanRun(podman: Podman): Promise<Subject> {
  const subject: Subject = {
    name: "podman run",
    does: `no daemon: podman, conmon and ${podman.runtime} spawned for each`,
    run: () => podman.run("run", "--rm", ...podman.runOptions, IMAGE, "true"),
  };
  await subject.run();
  return subject;
}
