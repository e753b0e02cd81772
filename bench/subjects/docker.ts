import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ApiClient } from "../api-client.ts";
import { IMAGE } from "../busybox.ts";
import { daemon, end, environment, installed, output, until } from "../command.ts";
import { type Engine, importImage, removeAll } from "../engine.ts";
import { children } from "../processes.ts";
import type { Subject } from "../subject.ts";
import type { Workspace } from "../workspace.ts";
import { cliSubject } from "./cli.ts";

/**
 * dockerd and its containerd, all state in the workspace, in a mount namespace that ends with them. With `networks` it has
 * a bridge and iptables, so that it belongs into a network namespace of the bench's.
 */
export async function dockerEngine(
  workspace: Workspace,
  tar: Uint8Array,
  { networks = false }: { networks?: boolean } = {},
): Promise<Engine> {
  const docker = installed("docker");
  const dockerd = installed("dockerd");
  installed("containerd");
  const dir = workspace.directory("docker");
  const socket = join(dir, "docker.sock");
  const log = join(dir, "dockerd.log");
  // Not the machine's /etc/docker/daemon.json.
  writeFileSync(join(dir, "daemon.json"), "{}\n");
  const argv = [
    ...[installed("unshare"), "--mount", "--propagation", "private", dockerd],
    ...["--config-file", join(dir, "daemon.json"), "--host", `unix://${socket}`, "--pidfile", join(dir, "pid")],
    ...["--data-root", join(dir, "data"), "--exec-root", workspace.runDirectory("docker")],
    ...["--cgroup-parent", `/${workspace.cgroup}`],
    ...(networks ? [] : ["--iptables=false", "--ip6tables=false", "--bridge=none"]),
    ...["--storage-driver=overlay2", "--log-level=error"],
  ];
  const child = daemon(argv, environment(), log);
  workspace.undo("dockerd", () => end(child, 30_000));
  const client = new ApiClient(socket);
  const crowd = new ApiClient(socket, 32);
  await until(() => client.ping(), child, 30_000, log);
  workspace.undo("docker's containers", async () => {
    const last = new ApiClient(socket, 4);
    await removeAll(last);
    for (const used of [last, client, crowd]) used.close();
  });
  await importImage(client, tar);
  const command = [docker, "--host", `unix://${socket}`];
  const env = environment({ DOCKER_CONFIG: dir });
  const pids = () => [child.pid, ...children(child.pid).filter((pid) => commOf(pid) === "containerd")];
  return { name: "docker", command, env, client, crowd, pids, keeper: "containerd-shim" };
}

function commOf(pid: number): string {
  return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
}

/** `docker run --rm --network none IMAGE true`. */
export function dockerRun(workspace: Workspace, engine: Engine): Subject {
  return cliSubject(workspace, {
    name: "docker run",
    does: "dockerd, containerd and runc resident or spawned as they are, overlay2, no bridge, no iptables",
    argv: [...engine.command, "run", "--rm", "--network", "none", IMAGE, "true"],
    env: engine.env,
  });
}

export async function dockerVersion(engine: Engine): Promise<string> {
  const { Version } = await engine.client.json<{ Version: string }>("GET", "/version");
  return `${output([engine.command[0]!, "--version"])}, engine ${Version}`;
}
