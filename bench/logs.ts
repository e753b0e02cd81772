import { IMAGE } from "./busybox.ts";
import { create, type Engine, remove, start } from "./engine.ts";
import type { Subject } from "./subject.ts";
import type { Podman } from "./subjects/podman.ts";
import type { Workspace } from "./workspace.ts";

const MIB = 256;
const LINE = "0123456789".repeat(10);
/** Writes 256 MiB in lines of 101 bytes as fast as it can. */
const SCRIPT = `yes ${LINE} | head -c ${MIB << 20}`;
/** All of it is kept, in one file. */
const OPTIONS = { "max-size": "2g" };

/** From the start of a container that writes much until it has ended, and its log is complete. */
export function takeIn(engine: Engine, driver: "json-file" | "local"): Subject {
  return {
    name: `${engine.name}, ${driver}`,
    does: "start and wait over the API, nobody attached",
    async run() {
      const id = await writer(engine, driver);
      const begin = performance.now();
      await start(engine.client, id);
      await engine.client.call("POST", `/containers/${id}/wait`);
      const time = performance.now() - begin;
      await remove(engine.client, id);
      return time;
    },
  };
}

/** All of such a log, over the API. */
export async function readBack(engine: Engine, driver: "json-file" | "local"): Promise<Subject> {
  const id = await writer(engine, driver);
  await start(engine.client, id);
  await engine.client.call("POST", `/containers/${id}/wait`);
  return {
    name: `${engine.name}, ${driver}`,
    does: "GET /containers/ID/logs to its end",
    async run() {
      const begin = performance.now();
      const answer = await fetch(`http://engine/containers/${id}/logs?stdout=1`, { unix: engine.client.socket });
      let bytes = 0;
      for await (const chunk of answer.body!) bytes += chunk.length;
      if (bytes < MIB << 20) throw new Error(`${engine.name}: ${bytes} bytes of log are not all`);
      return performance.now() - begin;
    },
  };
}

function writer(engine: Engine, driver: string): Promise<string> {
  const Config = driver === "local" ? { ...OPTIONS, "max-file": "1", compress: "false" } : OPTIONS;
  return create(engine.client, ["sh", "-c", SCRIPT], { HostConfig: { LogConfig: { Type: driver, Config } } });
}

const PODMAN = ["--log-driver", "k8s-file"];

export function podmanTakeIn(podman: Podman): Subject {
  return {
    name: "podman, k8s-file",
    does: "podman start and podman wait; conmon writes the log",
    async run() {
      await podman.run("create", "--name", "log", ...PODMAN, ...podman.runOptions, IMAGE, "sh", "-c", SCRIPT);
      const time = (await podman.run("start", "log")) + (await podman.run("wait", "log"));
      await podman.run("rm", "log");
      return time;
    },
  };
}

export async function podmanReadBack(podman: Podman, workspace: Workspace): Promise<Subject> {
  await podman.run("run", "-d", "--name", "read", ...PODMAN, ...podman.runOptions, IMAGE, "sh", "-c", SCRIPT);
  await podman.run("wait", "read");
  workspace.undo("podman's log", () => podman.run("rm", "read"));
  return { name: "podman, k8s-file", does: "podman logs, to /dev/null", run: () => podman.run("logs", "read") };
}
