import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { Caller, cannotUse } from "../dropin/caller.ts";
import { busyboxTar, engineForTests } from "../harness.ts";
import { Client, cannotCompare, docker, type Said } from "./docker.ts";
import { comparable, play, STEPS } from "./steps.ts";

const version = Bun.spawnSync(["sh", "-c", "PATH=$PATH:/usr/sbin dockerd --version"]).stdout.toString();
const why =
  process.env.INRO_TEST_DOCKERD !== "1"
    ? "takes half a minute: INRO_TEST_DOCKERD=1"
    : cannotCompare ||
      (cannotUse("dockerd", "containerd", "unshare") ??
        (version.includes(" 20.10.") ? "" : "written for dockerd 20.10"));

/** The same steps by docker's command line, against inro's engine and against dockerd: the same answers. */
describe.skipIf(why !== "")(`inro's engine and dockerd${why && ` (${why})`}`, () => {
  const engine = why ? undefined : engineForTests([], { networks: true });
  let caller: Caller;
  let clients: Client[] = [];
  let said: Promise<Said>[][];
  beforeAll(async () => {
    caller = new Caller("twin", { DOCKER_CONFIG: "." });
    const host = `unix://${caller.path("sock")}`;
    caller.use(docker!, "--host", host);
    writeFileSync(caller.path("daemon.json"), "{}\n");
    const places = ["--data-root", caller.directory("data"), "--exec-root", caller.directory("run")];
    await caller.start(
      [
        ...["unshare", "--mount", "--propagation", "private", "dockerd", "--config-file", caller.path("daemon.json")],
        ...["--host", host, "--pidfile", caller.path("pid"), ...places, "--cgroup-parent", `/${caller.name}`],
        ...["--iptables=false", "--ip6tables=false", "--bridge=none", "--log-level=error"],
      ],
      ["version"],
    );
    caller.undo(async () => {
      const ids = (await caller.ok("ps", "--all", "--quiet")).split("\n").filter(Boolean);
      if (ids.length > 0) await caller.ok("rm", "--force", ...ids);
    });
    await caller.ok("import", busyboxTar(caller.dir), "busybox");
    clients = [new Client([docker!], engine!), new Client([docker!], { host })];
    said = clients.map((client) => play(client, STEPS));
  });
  afterAll(async () => {
    for (const client of clients) client.close();
    await Promise.allSettled(said.flat());
    expect(await caller.close()).toEqual([]);
  });

  STEPS.forEach(({ name, dockerd }, i) => {
    test.skipIf(dockerd !== undefined)(`${name}${dockerd ? `: ${dockerd}` : ""}`, async () => {
      const [ours, theirs] = (await Promise.all(said.map((steps) => steps[i]!))).map((one, n) => ({
        code: one.code,
        out: comparable(one.out, clients[n]!.directory),
      }));
      expect(ours!).toEqual(theirs!);
    });
  });
});
