import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startRegistry } from "../../src/registry/testing/docker-registry.ts";
import { rootTar } from "../busybox.ts";
import { daemon, end, environment, installed, until } from "../command.ts";
import { machine } from "../machine.ts";
import type { Plan } from "../options.ts";
import { children } from "../processes.ts";
import { median } from "../statistics.ts";
import type { Absent } from "../subject.ts";
import { dockerEngine, dockerVersion } from "../subjects/docker.ts";
import { inroEngine, inroVersion } from "../subjects/inro.ts";
import { bytes, markdownTable, milliseconds, plainTable, ratio } from "../table.ts";
import type { Workspace } from "../workspace.ts";
import { makeBigImage, REPOSITORY, TAG, upload } from "./big-image.ts";
import { type Cost, watched } from "./watched.ts";

const STEPS = ["pull", "save", "remove", "load"] as const;
type Step = (typeof STEPS)[number];

/** A way to handle images; each step leaves what the next one needs. */
interface Handler {
  name: string;
  does: string;
  env: Record<string, string>;
  /** Of what is resident. */
  pids(): number[];
  commands: Partial<Record<Step, string[]>>;
}

/** One large image: pulled from a registry, saved, removed and loaded, by all that is installed, in turn. */
export async function imagesBench(workspace: Workspace, plan: Plan): Promise<void> {
  const say = (text: string) => process.stderr.write(`bench: ${text}\n`);
  say("preparing an image");
  const image = await makeBigImage(workspace);
  const registry = await startRegistry();
  workspace.undo("the registry", () => registry.stop());
  await upload(registry.host, image);
  const reference = `${registry.host}/${REPOSITORY}:${TAG}`;
  const saved = workspace.path("saved.tar");

  const absent: Absent[] = [];
  const handlers: Handler[] = [];
  const makers = [inro, ...(plan.peers ? [docker, podman, containerd, skopeo] : [])];
  for (const make of makers) {
    try {
      handlers.push(await make({ workspace, reference, saved, binary: plan.binary }));
    } catch (error) {
      absent.push({ name: make.name, absent: error instanceof Error ? error.message : String(error) });
    }
  }
  const costs = new Map<string, Cost[]>();
  for (let round = 1; round <= plan.rounds; round++) {
    for (const handler of handlers) {
      for (const step of [...STEPS, "remove"] as const) {
        const argv = handler.commands[step];
        if (!argv) continue;
        say(`${handler.name}: ${step}, round ${round} of ${plan.rounds}`);
        // What others have written is not this one's to wait for.
        Bun.spawnSync(["sync"]);
        const cost = await watched(argv, handler.env, handler.pids);
        const key = `${step} ${handler.name}`;
        costs.set(key, [...(costs.get(key) ?? []), cost]);
      }
      rmSync(saved, { force: true });
    }
  }
  const table = plan.markdown ? markdownTable : plainTable;
  for (const step of STEPS) {
    const of = ({ name }: Handler, what: keyof Cost) =>
      median((costs.get(`${step} ${name}`) ?? []).map((cost) => cost[what]));
    const base = handlers.find(({ name }) => name === "docker");
    const rows = handlers
      .filter(({ name }) => costs.has(`${step} ${name}`))
      .map((each) => [
        each.name,
        milliseconds(of(each, "ms")),
        base ? ratio(of(each, "ms"), of(base, "ms")) : "-",
        milliseconds(of(each, "cpu")),
        bytes(of(each, "peak")),
        each.does,
      ]);
    const title = { pull: "Pull", save: "Save", remove: "Remove", load: "Load" }[step];
    const head = ["", "ms", "of docker", "CPU ms", "peak memory", "what it does"];
    console.log(`${plan.markdown ? "### " : ""}${title}\n\n${table(head, rows)}\n`);
  }
  const compressed = image.layers.reduce((sum, { size }) => sum + size, 0);
  console.log(
    `An image of ${image.layers.length} layers, ${bytes(image.bytes)}, ${image.entries} entries, ${bytes(compressed)} in gzip, from a docker-registry on loopback. ` +
      `Medians of ${plan.rounds}; memory is that of all processes of each, what they share counted once, page cache left out. ${machine()}.`,
  );
  for (const { name, absent: why } of absent) console.log(`Absent: ${name}: ${why}`);
}

interface Given {
  workspace: Workspace;
  reference: string;
  saved: string;
  binary: string;
}

async function inro({ workspace, reference, saved, binary }: Given): Promise<Handler> {
  const { command, env, pids } = await inroEngine(workspace, await rootTar(), binary);
  return {
    ...{ name: "inro", does: `${inroVersion(binary)}: layers are kept as tars, with an index over them`, env, pids },
    commands: engineCommands(command, reference, saved),
  };
}

async function docker({ workspace, reference, saved }: Given): Promise<Handler> {
  const engine = await dockerEngine(workspace, await rootTar());
  const { command, env, pids } = engine;
  const does = `${await dockerVersion(engine)}: layers are unpacked`;
  return { name: "docker", does, env, pids, commands: engineCommands(command, reference, saved) };
}

const engineCommands = (command: readonly string[], reference: string, saved: string) => ({
  pull: [...command, "pull", "--quiet", reference],
  save: [...command, "save", "-o", saved, reference],
  remove: [...command, "rmi", reference],
  load: [...command, "load", "--quiet", "-i", saved],
});

function podman({ workspace, reference, saved }: Given): Handler {
  const dir = workspace.directory("podman");
  const command = [
    ...[installed("unshare"), "--mount", "--propagation", "private", installed("podman")],
    ...["--root", join(dir, "root"), "--runroot", join(dir, "run"), "--tmpdir", join(dir, "tmp")],
    ...["--cgroup-manager", "cgroupfs", "--events-backend", "file", "--storage-driver", "overlay"],
  ];
  const commands = engineCommands(command, reference, saved);
  commands.pull.splice(-1, 0, "--tls-verify=false");
  const does = "no daemon; layers are unpacked, save compresses nothing";
  return { name: "podman", does, env: environment(), pids: () => [], commands };
}

async function containerd({ workspace, reference, saved }: Given): Promise<Handler> {
  const dir = workspace.directory("containerd");
  const [socket, config, log] = [join(dir, "sock"), join(dir, "config.toml"), join(dir, "log")];
  writeFileSync(
    config,
    `version = 2\nroot = "${dir}/root"\nstate = "${dir}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "${socket}"\n`,
  );
  const unshare = [installed("unshare"), "--mount", "--propagation", "private"];
  const child = daemon([...unshare, installed("containerd"), "-c", config, "-l", "error"], environment(), log);
  workspace.undo("containerd", () => end(child));
  const ctr = [installed("ctr"), "--address", socket];
  await until(() => Bun.spawnSync([...ctr, "version"], { stderr: "ignore" }).exitCode === 0, child, 20_000, log);
  const pull = [...ctr, "images", "pull", "--plain-http", reference];
  return {
    ...{ name: "containerd", does: "ctr; layers are unpacked", env: environment() },
    pids: () => [child.pid, ...children(child.pid)],
    commands: {
      pull,
      save: [...ctr, "images", "export", saved, reference],
      remove: [...ctr, "images", "rm", "--sync", reference],
      load: [...ctr, "images", "import", saved],
    },
  };
}

function skopeo({ workspace, reference }: Given): Handler {
  const dir = workspace.directory("skopeo");
  const [copy, unpack] = [installed("skopeo"), installed("umoci")];
  const text = `${copy} copy --quiet --src-tls-verify=false docker://${reference} oci:$0/image:1 && ${unpack} unpack --image $0/image:1 $0/bundle`;
  return {
    ...{ name: "skopeo+umoci", does: "copied into an OCI layout and unpacked", env: environment(), pids: () => [] },
    commands: { pull: ["sh", "-c", text, dir], remove: ["sh", "-c", 'rm -rf "$0"/*', dir] },
  };
}
