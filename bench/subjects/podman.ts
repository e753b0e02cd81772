import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { IMAGE } from "../busybox.ts";
import { environment, installed, output } from "../command.ts";
import type { Subject } from "../subject.ts";
import { removeCgroup, type Workspace } from "../workspace.ts";
import { cliSubject } from "./cli.ts";
import { crunRefusesCgroups } from "./oci.ts";

export interface Podman {
  readonly command: readonly string[];
  readonly runOptions: readonly string[];
  readonly runtime: string;
  readonly env: Record<string, string>;
}

/** Podman with all its state in the workspace. */
export function openPodman(workspace: Workspace, tar: Uint8Array): Podman {
  const podman = installed("podman");
  installed("conmon");
  const dir = workspace.directory("podman");
  const runtime = crunRefusesCgroups() || !Bun.which("crun") ? "runc" : "crun";
  const command = [
    ...[podman, "--root", join(dir, "root"), "--runroot", join(dir, "run"), "--tmpdir", join(dir, "tmp")],
    ...["--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", installed(runtime)],
    ...["--network-config-dir", join(dir, "net"), "--storage-driver", "overlay"],
  ];
  const env = environment();
  const parents = ["/sys/fs/cgroup", ...hierarchies()].map((path) => join(path, "libpod_parent"));
  const before = parents.filter((path) => existsSync(path));
  workspace.undo("podman's cgroups", () => {
    for (const path of parents) if (!before.includes(path)) removeCgroup(path);
  });
  workspace.undo("podman's containers and storage", () => output([...command, "system", "reset", "--force"], env));
  workspace.undo("podman's containers", () => output([...command, "rm", "--all", "--force", "--time", "0"], env));
  output([...command, "import", "-", IMAGE], env, tar);
  return { command, env, runtime, runOptions: ["--network", "none", ...limits()] };
}

function hierarchies(): string[] {
  return readdirSync("/sys/fs/cgroup", { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? [join("/sys/fs/cgroup", entry.name)] : [],
  );
}

/** Podman asks for more than this machine's hard limits, which fails where root may not raise them. */
function limits(): string[] {
  const text = readFileSync("/proc/self/limits", "utf8");
  return [
    ["nofile", /^Max open files +(\d+) +(\d+)/m],
    ["nproc", /^Max processes +(\d+) +(\d+)/m],
  ].flatMap(([name, pattern]) => {
    const found = (pattern as RegExp).exec(text);
    return found ? ["--ulimit", `${name as string}=${found[1]}:${found[2]}`] : [];
  });
}

/** `podman run --rm --network none IMAGE true`. */
export function podmanRun(workspace: Workspace, podman: Podman): Subject {
  return cliSubject(workspace, {
    name: "podman run",
    does: `no daemon: podman, conmon and ${podman.runtime} spawned for each`,
    argv: [...podman.command, "run", "--rm", ...podman.runOptions, IMAGE, "true"],
    env: podman.env,
  });
}

export function podmanVersion(podman: Podman): string {
  return output([podman.command[0]!, "--version"]);
}
