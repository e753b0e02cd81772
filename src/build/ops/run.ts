import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { treeInChild } from "../../archive/command.ts";
import { newId } from "../../base/digest.ts";
import { codeOf } from "../../base/errors.ts";
import { Cgroup } from "../../cgroups/cgroup.ts";
import type { StoredLayer } from "../../images/store.ts";
import { layerTar } from "../../layers/tree-tar.ts";
import { mayMountCgroups } from "../../runtime/cgroup-mounts.ts";
import { launch, type Running } from "../../runtime/launch.ts";
import type { Spec } from "../../spec/oci-runtime.ts";
import type { RunStep, Snapshot, StepContext, StepNetwork } from "../step.ts";
import { StepFailed } from "./failed.ts";
import { isSmall, removeDirectory, storeLayer } from "./layer.ts";
import { readOutput } from "./output.ts";
import { RunMounts } from "./run-mounts.ts";

/** Where every container has something mounted: what the image lacks of it is made, and is no change of the step's. */
const MOUNTED = ["/dev", "/proc", "/sys", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];
const HOSTNAME = "buildkitsandbox";

/**
 * RUN: a command in a container on top of `base`. Answers the layer of what it changed, which is stored, unpacked and
 * held by `ctx.hold`; undefined when it changed nothing. Rejects with StepFailed, with what a container's start may fail
 * with, or with the signal's reason; then the processes have ended and nothing is left.
 */
export async function runStep(step: RunStep, base: Snapshot, ctx: StepContext): Promise<StoredLayer | undefined> {
  ctx.signal.throwIfAborted();
  const id = newId();
  const directory = join(ctx.directory, id);
  mkdirSync(directory, { mode: 0o700 });
  try {
    const run = new Run(id, directory, step, base, ctx);
    await run.run();
    return await storeLayer(run.changes(), base, directory, ctx);
  } finally {
    await removeDirectory(ctx.directory, id);
  }
}

class Run {
  readonly #upper: string;
  readonly #lower: string[];
  #targets: string[] = [];

  constructor(
    private readonly id: string,
    private readonly directory: string,
    private readonly step: RunStep,
    base: Snapshot,
    private readonly ctx: StepContext,
  ) {
    const make = (name: string, mode: number) => {
      mkdirSync(join(directory, name), { mode });
      return join(directory, name);
    };
    this.#upper = make("upper", 0o755);
    make("work", 0o700);
    make("run", 0o700);
    const layers = ctx.layers.lowers(base.layers.map(({ diffId }) => diffId));
    // An overlay stands on something.
    this.#lower = layers.length > 0 ? layers : [make("scratch", 0o755)];
  }

  async run(): Promise<void> {
    const { step, ctx } = this;
    const mounts = await RunMounts.open(step.mounts, this.directory, ctx);
    try {
      this.#targets = mounts.mounts.map(({ destination }) => destination);
      const network = await ctx.network(step.network);
      try {
        await this.#inContainer(mounts, network);
      } finally {
        await network.release();
      }
    } finally {
      mounts.close();
    }
  }

  async #inContainer(mounts: RunMounts, network: StepNetwork): Promise<void> {
    const { ctx, id, step } = this;
    const spec = ctx.spec({
      id,
      step: { ...step, env: [...step.env, ...mounts.env], hostname: step.hostname || HOSTNAME },
      directories: [this.#upper, ...this.#lower],
      files: this.#files(network),
      mounts: mounts.mounts,
      network: step.network === "host" ? "host" : network.namespace === undefined ? "none" : "given",
    });
    const cgroup = Cgroup.create(ctx.hierarchy, `${ctx.cgroup}/${id}`, spec.linux?.resources ?? {}, {
      everywhere: mayMountCgroups(spec),
    });
    try {
      const running = await launch({
        id,
        spec,
        terminal: false,
        rootfs: {
          kind: "overlay",
          lower: this.#lower,
          upper: this.#upper,
          work: join(this.directory, "work"),
          volatile: true,
        },
        cgroup,
        runDir: join(this.directory, "run"),
        stdin: false,
        init: false,
        ...(network.namespace === undefined || step.network === "host"
          ? {}
          : { given: { network: network.namespace } }),
      });
      await this.#toItsEnd(running, cgroup, spec);
    } finally {
      await cgroup.remove();
    }
  }

  /** What it has left running ends with it, as nobody would see to it. */
  async #toItsEnd(running: Running, cgroup: Cgroup, spec: Spec): Promise<void> {
    const { ctx } = this;
    const kill = () => killAll(cgroup);
    ctx.signal.addEventListener("abort", kill);
    try {
      if (ctx.signal.aborted) kill();
      const output = Promise.all([
        readOutput(running.stdout!, (bytes) => ctx.log(1, bytes)),
        readOutput(running.stderr!, (bytes) => ctx.log(2, bytes)),
      ]);
      const { code } = await running.exited;
      kill();
      // To the end of the last that could write.
      await output;
      ctx.signal.throwIfAborted();
      if (code !== 0) throw new StepFailed(spec.process!.args!.join(" "), code, code === 137 && cgroup.oomKilled());
    } finally {
      ctx.signal.removeEventListener("abort", kill);
      running.release();
    }
  }

  #files(network: StepNetwork): { hostname: string; hosts: string; resolv: string } {
    const write = (name: string, text: string) => {
      const path = join(this.directory, name);
      writeFileSync(path, text, { mode: 0o644 });
      return path;
    };
    return {
      hostname: write("hostname", `${this.step.hostname || HOSTNAME}\n`),
      hosts: write("hosts", network.hosts),
      resolv: write("resolv.conf", network.resolvConf),
    };
  }

  /** The layer's tar. Mount points that were made for the step alone are not in it (CVE-2024-23652). */
  changes(): AsyncIterable<Uint8Array> {
    const { epoch, signal } = this.ctx;
    const tree = {
      upper: this.#upper,
      lowers: this.#lower,
      made: { added: [...MOUNTED, ...this.#targets], deleted: [] },
      ...(epoch === undefined ? {} : { latest: epoch }),
    };
    // What a command as a rule leaves is read sooner than a process starts.
    return isSmall(this.directory, "upper") ? layerTar(tree) : treeInChild({ kind: "layer", tree }, signal);
  }
}

function killAll(cgroup: Cgroup): void {
  try {
    cgroup.killAll();
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
}
