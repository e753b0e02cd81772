import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Spec } from "../../src/spec/oci-runtime.ts";
import { type Environment, environment, output } from "../command.ts";
import { type OverlayMount, PrivateMounts } from "../private-mounts.ts";
import type { Cost, Subject } from "../subject.ts";
import type { Workspace } from "../workspace.ts";

/** An OCI runtime, and how it is told to run on this machine. */
export interface OciRuntime {
  /** As the tables name it. */
  name: string;
  binary: string;
  /** It is older than version 1.1 of the specification: its config is a 1.0 one, without the time namespace. */
  old: boolean;
  /** crun refuses a machine whose cgroup2 tree beside v1 has controllers: it gets a view without that tree. */
  hideCgroup2: boolean;
  env?: Environment;
  /** Where its bundles are mounted, and the pid of what does part of its work there; else each has a place of its own. */
  beside?: { mounts: PrivateMounts; pid: number };
}

export interface BundleOptions {
  spec: Spec;
  lower: string;
  /** Mount a new overlay for each run, and unmount it: what an engine does around its runtime. */
  overlay?: boolean;
  args?: string[];
}

/** A bundle of one runtime, on an overlay of the bench's root. */
export class Bundle {
  readonly #mounts: PrivateMounts;
  readonly #overlay: OverlayMount;
  readonly #own: boolean;
  readonly #command: readonly string[];
  readonly #env: Environment;
  readonly #beside: number | undefined;
  readonly path: string;

  private constructor(workspace: Workspace, runtime: OciRuntime, what: string, options: BundleOptions) {
    this.path = workspace.directory(`oci-${`${runtime.name} ${what}`.replace(/\W+/g, "-")}`);
    const [rootfs, upper, work] = ["rootfs", "upper", "work"].map((dir) => join(this.path, dir)) as [
      string,
      string,
      string,
    ];
    mkdirSync(rootfs);
    const spec = structuredClone(options.spec);
    spec.root = { ...spec.root, path: rootfs };
    if (options.args) spec.process!.args = options.args;
    const linux = spec.linux!;
    if (runtime.old) {
      spec.ociVersion = "1.0.2";
      linux.namespaces = (linux.namespaces ?? []).filter(({ type }) => type !== "time");
    }
    linux.cgroupsPath = `/${workspace.cgroup}/${runtime.name}-${what.replace(/\W+/g, "-")}`;
    writeFileSync(join(this.path, "config.json"), JSON.stringify(spec));
    this.#overlay = {
      target: rootfs,
      options: `lowerdir=${options.lower},upperdir=${upper},workdir=${work},volatile`,
    };
    this.#own = options.overlay ?? false;
    this.#mounts = runtime.beside?.mounts ?? new PrivateMounts(join(this.path, "stderr"));
    this.#beside = runtime.beside?.pid;
    this.#env = environment(runtime.env);
    this.#command = [runtime.binary, "--root", join(this.path, "state")];
    if (!runtime.beside) workspace.undo(`${runtime.name} ${what}`, () => this.#mounts.close());
  }

  static async open(workspace: Workspace, runtime: OciRuntime, what: string, options: BundleOptions): Promise<Bundle> {
    const bundle = new Bundle(workspace, runtime, what, options);
    if (runtime.hideCgroup2) await bundle.#mounts.unmount("/sys/fs/cgroup/unified");
    bundle.#renew();
    if (!options.overlay) await bundle.#mounts.mount(bundle.#overlay);
    return bundle;
  }

  #renew(): void {
    for (const dir of ["upper", "work"]) {
      rmSync(join(this.path, dir), { recursive: true, force: true });
      mkdirSync(join(this.path, dir));
    }
  }

  /** Commands of the runtime, one after the other, at what they cost together. */
  async run(...commands: readonly (readonly string[])[]): Promise<Cost> {
    if (this.#own) this.#renew();
    return await this.#mounts.run(
      commands.map((words) => [...this.#command, ...words]),
      this.path,
      this.#env,
      {
        ...(this.#own && { overlay: this.#overlay }),
        ...(this.#beside !== undefined && { beside: this.#beside }),
      },
    );
  }

  /** Bytes of memory that a command of the runtime has at most. */
  async peak(...words: string[]): Promise<number> {
    return await this.#mounts.peak([...this.#command, ...words], this.path, this.#env);
  }
}

/** A resident has been called before, so that its code is compiled: as the bench does with engines. */
const CALLED_BEFORE = 100;

async function warm(runtime: OciRuntime, subject: Subject): Promise<Subject> {
  for (let i = 0; i < (runtime.beside ? CALLED_BEFORE : 1); i++) await subject.run();
  return subject;
}

let ids = 0;
const id = () => `bench-${ids++}`;

/** `RUNTIME run` of a container that ends at once. */
export async function ociRun(
  workspace: Workspace,
  runtime: OciRuntime,
  what: string,
  options: BundleOptions,
): Promise<Subject> {
  const bundle = await Bundle.open(workspace, runtime, what, options);
  const around = options.overlay ? "a new overlay mounted and unmounted around it" : "on an overlay mounted beforehand";
  const subject: Subject = {
    name: `${runtime.name} ${what}`,
    does: `${around}, the same config${runtime.old ? " but for the time namespace" : ""}`,
    run: () => bundle.run(["run", "--bundle", bundle.path, id()]),
    peak: () => bundle.peak("run", "--bundle", bundle.path, id()),
  };
  return await warm(runtime, subject);
}

/** create, start, delete: what a caller makes of one container. */
export async function ociLifeCycle(
  workspace: Workspace,
  runtime: OciRuntime,
  options: BundleOptions,
): Promise<Subject> {
  const bundle = await Bundle.open(workspace, runtime, "create start delete", options);
  const subject: Subject = {
    name: `${runtime.name} create, start, delete`,
    does: "three commands, one after the other, with --force for the last",
    run() {
      const name = id();
      return bundle.run(["create", "--bundle", bundle.path, name], ["start", name], ["delete", "--force", name]);
    },
  };
  return await warm(runtime, subject);
}

/** `RUNTIME exec ID true` in a container that sleeps. */
export async function ociExec(workspace: Workspace, runtime: OciRuntime, options: BundleOptions): Promise<Subject> {
  const bundle = await Bundle.open(workspace, runtime, "exec", { ...options, args: ["sleep", "100000"] });
  const name = id();
  await bundle.run(["run", "--detach", "--bundle", bundle.path, name]);
  workspace.undo(`${runtime.name} exec`, () => bundle.run(["delete", "--force", name]));
  return await warm(runtime, {
    name: `${runtime.name} exec`,
    does: "true, in a container that sleeps",
    run: () => bundle.run(["exec", name, "true"]),
    peak: () => bundle.peak("exec", name, "true"),
  });
}

/** First line of `BINARY --version`. */
export function versionOf(binary: string): string {
  return output([binary, "--version"]).split("\n")[0]!;
}

/** crun refuses a hybrid machine where cgroup2 has controllers of its own. */
export function crunRefusesCgroups(): boolean {
  try {
    return readFileSync("/sys/fs/cgroup/unified/cgroup.controllers", "utf8").trim() !== "";
  } catch {
    return false;
  }
}
