import { expect } from "bun:test";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually, type Result, type Runtime } from "../bundle.ts";
import { applyChange, type Case, type Change, type Expected, type FullSpec, type Kind } from "./case.ts";
import { cgroupDirectory, cgroupLeft } from "./machine.ts";

export interface State {
  ociVersion: string;
  id: string;
  status: string;
  pid: number;
  bundle: string;
  annotations?: Record<string, string>;
  created?: string;
  rootfs?: string;
}

/** A bundle, and the container that is made of it. */
export class Container {
  readonly out: string;
  readonly err: string;

  constructor(
    readonly runtime: Runtime,
    readonly id: string,
    readonly bundle: string,
  ) {
    this.out = join(bundle, "out");
    this.err = join(bundle, "err");
  }

  get rootfs(): string {
    return join(this.bundle, "rootfs");
  }

  /** create or run, with stdout and stderr that the container keeps. */
  async launch(verb: "create" | "run", flags: readonly string[] = [], more: Launch = {}): Promise<Result> {
    const [out, err] = [openSync(this.out, "w"), openSync(this.err, "w")];
    const child = this.runtime.spawn(
      [...(more.globals ?? []), verb, "--bundle", this.bundle, ...flags, this.id],
      [more.stdin === undefined ? "ignore" : Buffer.from(more.stdin), out, err, ...(more.fds ?? [])],
      more.env,
      more.wrap,
    );
    closeSync(out);
    closeSync(err);
    const code = await child.exited;
    return { code, out: this.output(), err: readFileSync(this.err, "utf8") };
  }

  /** {@link launch}, and a failure is an error. */
  async ok(verb: "create" | "run", flags: readonly string[] = [], more: Launch = {}): Promise<this> {
    const { code, err } = await this.launch(verb, flags, more);
    if (code !== 0) throw new Error(`${verb}: ${code}: ${err}`);
    return this;
  }

  /** Runs it to its end; what it says. A status other than 0 is an error. */
  async says(): Promise<string> {
    return (await this.ok("run")).output();
  }

  /** What it has written to stdout by now. */
  output(): string {
    return readFileSync(this.out, "utf8");
  }

  /** A command of the runtime with the container's id after the flags. */
  command(verb: string, flags: readonly string[] = [], ...rest: string[]): Promise<Result> {
    return this.runtime.run([verb, ...flags, this.id, ...rest]);
  }

  async does(verb: string, flags: readonly string[] = [], ...rest: string[]): Promise<string> {
    const { code, out, err } = await this.command(verb, flags, ...rest);
    if (code !== 0) throw new Error(`${verb}: ${code}: ${err}`);
    return out;
  }

  /** It fails, and nothing but that happens; the message. */
  async fails(verb: string, flags: readonly string[] = [], ...rest: string[]): Promise<string> {
    const { code, out, err } = await this.command(verb, flags, ...rest);
    if (code === 0) throw new Error(`${verb} did not fail: ${out}`);
    return err;
  }

  /** What a shell started by exec says; a status other than 0 is an error. */
  async sh(script: string, ...flags: string[]): Promise<string> {
    return (await this.does("exec", flags, "sh", "-c", script)).trimEnd();
  }

  async state(): Promise<State> {
    return JSON.parse(await this.does("state")) as State;
  }

  async status(): Promise<string> {
    return (await this.state()).status;
  }

  async stopped(): Promise<void> {
    await eventually(`${this.id} stops`, async () => (await this.status()) === "stopped");
  }

  /** Path of a file of its cgroup; `controller` names the v1 hierarchy. */
  async cgroupFile(controller: string, file: string): Promise<string> {
    return join(cgroupDirectory((await this.state()).pid, controller), file);
  }
}

interface Launch {
  stdin?: string;
  env?: Record<string, string>;
  /** A command that runs the runtime's. */
  wrap?: readonly string[];
  /** Descriptors of the runtime from 3 on. */
  fds?: readonly number[];
  globals?: readonly string[];
}

let containers = 0;
/** Parent of the containers' cgroups. */
export const CGROUP = `/inro-conformance-${process.pid}`;

/** What a case works with. Its containers end with it. */
export class Context {
  readonly #made: Container[] = [];

  constructor(
    readonly runtime: Runtime,
    readonly kind: Kind,
    readonly test: Case,
  ) {}

  /** A bundle with the case's config, and `change` on top, whose process is a shell with `script`. */
  container(script: string, change: Change = {}): Container {
    const id = `${this.kind}-${process.pid}-${containers++}`;
    const bundle = this.runtime.bundle(script, (spec) => {
      const full = spec as FullSpec;
      full.ociVersion = "1.0.2";
      full.linux.cgroupsPath = `${CGROUP}/${id}`;
      if (this.test.change) applyChange(full, this.test.change);
      applyChange(full, change);
    });
    const container = new Container(this.runtime, id, bundle);
    // In a user namespace the root of the container may not make them.
    for (const name of ["proc", "dev", "sys"]) mkdirSync(join(container.rootfs, name));
    this.#made.push(container);
    return container;
  }

  /** Runs `script` to its end, whatever its status. */
  run(script: string, change: Change = {}, flags: readonly string[] = [], more: Launch = {}): Promise<Result> {
    return this.container(script, change).launch("run", flags, more);
  }

  async shows(script: string, expected: Expected, change: Change = {}): Promise<void> {
    const { code, out, err } = await this.run(script, change);
    if (code !== 0) throw new Error(`status ${code}: ${err}${out}`);
    if (typeof expected === "string") expect(out.trimEnd()).toBe(expected);
    else expect(out).toMatch(expected);
  }

  /** A running container. */
  up(change: Change = {}, flags: readonly string[] = [], more: Launch = {}): Promise<Container> {
    return this.container("exec sleep 1000", change).ok("run", ["--detach", ...flags], more);
  }

  /** A container that is created and not started. */
  created(script = "exec sleep 1000", change: Change = {}, flags: readonly string[] = []): Promise<Container> {
    return this.container(script, change).ok("create", flags);
  }

  /** create fails and leaves nothing; `says` is asked of inro's message only. */
  async refuses(says: RegExp, change: Change = {}, flags: readonly string[] = []): Promise<string> {
    const container = this.container("true", change);
    const { code, err } = await container.launch("create", flags);
    if (code === 0) throw new Error("create did not fail");
    if (this.kind === "inro") expect(err).toMatch(says);
    await this.nothingLeft(container);
    return err;
  }

  /** An edit of config.json as text, for what no object can say. */
  edit(container: Container, change: (text: string) => string): void {
    const path = join(container.bundle, "config.json");
    writeFileSync(path, change(readFileSync(path, "utf8")));
  }

  async nothingLeft({ id, bundle, runtime }: Container): Promise<void> {
    await eventually(`${id} leaves no state`, () => !existsSync(join(runtime.root, id)));
    await eventually(`${id} leaves no cgroup`, () => cgroupLeft(id, CGROUP) === undefined);
    await eventually(`${id} leaves no mount`, () => !readFileSync("/proc/self/mountinfo", "utf8").includes(bundle));
  }

  /** Ends what the case has made, and fails if something stays. */
  async close(): Promise<void> {
    for (const container of this.#made) {
      if (existsSync(join(this.runtime.root, container.id))) await container.does("delete", ["--force"]);
      await this.nothingLeft(container);
    }
  }
}

/** Names in a directory, sorted; of one that is not there none. */
export function namesIn(path: string): string[] {
  return existsSync(path) ? readdirSync(path).sort() : [];
}
