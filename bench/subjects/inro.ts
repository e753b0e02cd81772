import { existsSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { ApiClient } from "../api-client.ts";
import { IMAGE } from "../busybox.ts";
import { daemon, end, environment, output, until } from "../command.ts";
import { type Engine, importImage, removeAll } from "../engine.ts";
import type { Subject } from "../subject.ts";
import type { Workspace } from "../workspace.ts";
import { cliSubject } from "./cli.ts";

/** The built binary's engine, with directories of its own. */
export async function inroEngine(workspace: Workspace, tar: Uint8Array, binary: string): Promise<Engine> {
  if (!existsSync(binary)) throw new Error(`${binary} is not built: npm run build`);
  const dir = workspace.directory("inro");
  const socket = join(dir, "inro.sock");
  const log = join(dir, "engine.log");
  const host = `unix://${socket}`;
  const cgroups = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map((root) => join(root, "inro"));
  const before = cgroups.filter((path) => existsSync(path));
  workspace.undo("inro's cgroup", () => {
    for (const path of cgroups) if (!before.includes(path) && existsSync(path)) rmdirSync(path);
  });
  const roots = ["--data-root", join(dir, "data"), "--exec-root", workspace.runDirectory("inro")];
  const argv = [binary, "serve", "--host", host, ...roots];
  const child = daemon(argv, environment(), log);
  workspace.undo("inro's engine", () => end(child));
  const client = new ApiClient(socket);
  const crowd = new ApiClient(socket, 32);
  await until(() => client.ping(), child, 10_000, log);
  workspace.undo("inro's containers", async () => {
    // ^C may come while `client` waits for something.
    const last = new ApiClient(socket, 4);
    await removeAll(last);
    for (const used of [last, client, crowd]) used.close();
  });
  await importImage(client, tar);
  const env = environment({ INRO_HOST: host });
  return { name: "inro", command: [binary], env, client, crowd, pids: () => [child.pid], keeper: "inro-keeper" };
}

/** `inro run --rm --network none IMAGE true` against the resident engine. */
export function inroRun(workspace: Workspace, engine: Engine): Subject {
  return cliSubject(workspace, {
    name: "inro run",
    does: "the built binary, engine resident: create, attach, start, wait, remove",
    argv: [...engine.command, "run", "--rm", "--network", "none", IMAGE, "true"],
    env: engine.env,
  });
}

/** How long the command alone takes to start, without any request. */
export function inroStart(workspace: Workspace, binary: string): Subject {
  return cliSubject(workspace, {
    name: "inro --help",
    does: "the start of the binary alone, for the part of it in inro run",
    argv: [binary, "--help"],
    env: environment(),
  });
}

export function inroVersion(binary: string): string {
  return output([binary, "--version"]);
}
