import { forbidden, invalid } from "../../base/errors.ts";
import { parsePlatform } from "../../images/platform.ts";
import type { BuildWarning } from "../../spec/build.ts";
import type { ImageConfig, Platform } from "../../spec/oci-image.ts";
import { applyInstruction, argv, workdir } from "../changes.ts";
import type { Add, Arg, Copy, Instruction, Run, Source, Stage } from "../dockerfile/ast.ts";
import { DockerfileError } from "../dockerfile/error.ts";
import { Expander } from "../dockerfile/expand.ts";
import { parseMount } from "../dockerfile/mounts.ts";
import { parseInstruction } from "../dockerfile/parse.ts";
import { heredocProgram } from "../dockerfile/run.ts";
import {
  type ContextVertex,
  type CopyDefinition,
  type CopyVertex,
  type GitVertex,
  type HttpVertex,
  type ImageVertex,
  type MountDefinition,
  type RunVertex,
  type Scratch,
  type Vertex,
  vertex,
  type WorkdirVertex,
} from "../graph.ts";
import type { Arguments } from "./arguments.ts";
import { createdBy, ranBy } from "./history.ts";
import type { BaseImage, FrontendOptions, PlannedHistory } from "./options.ts";
import { gitReference, isUrl } from "./remote.ts";

type Defaults = NonNullable<ImageConfig["config"]>;

const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** For what has no base image with a date: zip and its kin know no earlier ones. */
export const EARLIEST = Date.UTC(1980, 0, 1) / 1000;
const MAX_TRIGGERS = 1000;

export const SCRATCH_VERTEX: Scratch = vertex<Scratch>({ kind: "scratch", name: "scratch" });

/** What the stages of one plan share. */
export interface StageContext {
  readonly options: FrontendOptions;
  readonly args: Arguments;
  readonly token: "\\" | "`";
  /** Of `--from`: an earlier stage, a context or an image. Kept: each is made once. */
  from(name: string, stage: Stage, platform: Platform): Promise<Vertex>;
  readonly warnings: BuildWarning[];
  /** SOURCE_DATE_EPOCH. */
  readonly epoch: number | undefined;
  readonly stages: number;
}

/** A stage after some of its instructions. */
export class StageState {
  vertex: Vertex = SCRATCH_VERTEX;
  platform: Platform;
  config: Defaults = { Env: [PATH], WorkingDir: "/" };
  author: string | undefined;
  inherited: NonNullable<ImageConfig["history"]> = [];
  history: PlannedHistory[] = [];
  epoch = EARLIEST;
  /** ARGs with values, in order of their declaration. */
  args = new Map<string, string>();
  /** What expansion and RUN see: ENV, and ARG unless there is an ENV of the name. */
  env = new Map<string, string>();
  readonly steps: { code: string; vertex?: Vertex }[] = [];

  constructor(platform: Platform) {
    this.platform = platform;
    for (const entry of this.config.Env!) this.setEnv(entry);
  }

  /** Another stage, that this one begins with. */
  static after(before: StageState): StageState {
    const state = new StageState(before.platform);
    state.vertex = before.vertex;
    state.config = structuredClone(before.config);
    state.author = before.author;
    state.inherited = before.inherited;
    state.history = [...before.history];
    state.epoch = before.epoch;
    state.args = new Map(before.args);
    state.env = new Map(before.env);
    return state;
  }

  static of(image: BaseImage, name: string, epoch: number | undefined): StageState {
    const { config: whole, layers, id, reference } = image;
    const { architecture, os, variant } = whole;
    const state = new StageState({ architecture, os, ...(variant ? { variant } : {}) });
    state.vertex = vertex<ImageVertex>({ kind: "image", name, reference, id, layers });
    state.config = structuredClone(whole.config ?? {});
    state.author = whole.author;
    state.inherited = whole.history ?? [];
    const created = Math.floor(Date.parse(whole.created ?? "") / 1000);
    state.epoch = epoch ?? (created > 0 ? created : EARLIEST);
    state.env.clear();
    for (const entry of state.config.Env ?? []) state.setEnv(entry);
    if (!state.env.has("PATH")) {
      state.config.Env = [...(state.config.Env ?? []), PATH];
      state.setEnv(PATH);
    }
    return state;
  }

  setEnv(entry: string): void {
    const at = entry.indexOf("=");
    if (at > 0) this.env.set(entry.slice(0, at), entry.slice(at + 1));
  }
}

/** Does the instructions of one stage. */
export class StageBuilder {
  readonly #lookup = (name: string) => this.state.env.get(name);
  readonly #total: number;
  #count = 1;
  readonly #noCache: boolean;
  #cmdSet = false;

  constructor(
    private readonly context: StageContext,
    private readonly stage: Stage,
    readonly state: StageState,
    triggers: readonly Instruction[],
  ) {
    const makes = (one: Instruction) => ["run", "copy", "add", "workdir"].includes(one.kind);
    this.#total = 1 + [...triggers, ...stage.instructions].filter(makes).length;
    const { noCache } = context.options;
    this.#noCache = typeof noCache === "boolean" ? noCache : stage.name !== undefined && noCache.has(stage.name);
  }

  async run(triggers: readonly Instruction[]): Promise<void> {
    const { state, stage } = this;
    state.steps.push({ code: stage.source.code, vertex: state.vertex });
    for (const instruction of [...triggers, ...stage.instructions]) {
      try {
        await this.#do(instruction);
      } catch (error) {
        throw located(error, instruction.source);
      }
    }
  }

  /** Progress' name of the stage's next step. */
  static prefix(context: StageContext, stage: Stage, count: number, total: number): string {
    const { options, stages } = context;
    const name = stage.name ?? (stages > 1 ? `stage-${stage.index}` : "");
    const { os, architecture, variant } = options.platform;
    const platform = options.multiPlatform ? `${os}/${architecture}${variant ? `/${variant}` : ""} ` : "";
    const width = String(total).length;
    return `[${platform}${name ? `${name} ` : ""}${String(count).padStart(width)}/${total}]`;
  }

  async #do(written: Instruction): Promise<void> {
    const { state } = this;
    const before = state.steps.length;
    switch (written.kind) {
      case "arg":
        this.#arg(written);
        break;
      case "run":
        await this.#run(written);
        break;
      case "copy":
      case "add":
        await this.#copy(written);
        break;
      case "workdir":
        this.#workdir(this.#expanded(written) as typeof written);
        break;
      case "maintainer":
        state.author = written.maintainer;
        state.history.push({ createdBy: createdBy(written, state.config) });
        break;
      default: {
        const instruction = this.#expanded(written);
        applyInstruction(state.config, instruction);
        if (instruction.kind === "env") for (const { name, value } of instruction.pairs) state.env.set(name, value);
        if (instruction.kind === "cmd") this.#cmdSet = true;
        // What the base image runs was meant for its own entrypoint.
        if (instruction.kind === "entrypoint" && !this.#cmdSet) delete state.config.Cmd;
        state.history.push({ createdBy: createdBy(instruction, state.config) });
      }
    }
    if (state.steps.length === before) state.steps.push({ code: written.source.code });
  }

  #word(text: string, source: Source, options: ConstructorParameters<typeof Expander>[1] = {}): string {
    const expander = new Expander(this.context.token, options);
    const value = expander.word(text, this.#lookup);
    this.#undefined(expander, source);
    return value;
  }

  #undefined(expander: Expander, source: Source): void {
    for (const name of expander.unmatched) {
      this.context.warnings.push({
        rule: "UndefinedVar",
        short: `UndefinedVar: Usage of undefined variable '$${name}' (line ${source.line})`,
        detail: "Variables should be defined before their use",
        url: "https://docs.docker.com/go/dockerfile/rule/undefined-var/",
        line: source.line,
        endLine: source.endLine,
      });
    }
  }

  #expanded(instruction: Instruction): Instruction {
    const word = (text: string) => this.#word(text, instruction.source);
    switch (instruction.kind) {
      case "env":
      case "label":
        return {
          ...instruction,
          pairs: instruction.pairs.map(({ name, value }) => ({ name: word(name), value: word(value) })),
        };
      case "expose": {
        const expander = new Expander(this.context.token);
        const ports = instruction.ports.flatMap((port) => expander.words(port, this.#lookup));
        this.#undefined(expander, instruction.source);
        return { ...instruction, ports };
      }
      case "user":
        return { ...instruction, user: word(instruction.user) };
      case "workdir":
        return { ...instruction, path: word(instruction.path) };
      case "volume": {
        const paths = instruction.paths.map(word);
        if (paths.includes("")) throw invalid("VOLUME specified can not be an empty string");
        return { ...instruction, paths };
      }
      case "stopsignal": {
        const signal = word(instruction.signal);
        if (!/^(?:(?:SIG)?[A-Z0-9]+(?:[+-]\d{1,2})?|\d{1,2})$/i.test(signal))
          throw invalid(`invalid signal: ${signal.slice(0, 60)}`);
        return { ...instruction, signal };
      }
      default:
        return instruction;
    }
  }

  #arg(instruction: Arg): void {
    const { state, context } = this;
    const shown: { name: string; value?: string }[] = [];
    for (const { name, value: written } of instruction.args) {
      const key = this.#word(name, instruction.source);
      const given = context.args.given(key);
      const value =
        given ?? (written === undefined ? context.args.global.get(key) : this.#word(written, instruction.source));
      shown.push({ name: key, ...(value === undefined ? {} : { value }) });
      if (value === undefined) continue;
      state.args.set(key, value);
      if (!(state.config.Env ?? []).some((entry) => entry.startsWith(`${key}=`))) state.env.set(key, value);
    }
    state.history.push({ createdBy: createdBy({ ...instruction, args: shown }, state.config) });
  }

  async #run(instruction: Run): Promise<void> {
    const { state, context } = this;
    if (instruction.devices.some(({ required }) => required))
      throw invalid("RUN --device: no devices are given to builds");
    const { allow } = context.options;
    if (instruction.security === "insecure" && !allow.has("security.insecure")) {
      throw forbidden("RUN --security=insecure: security.insecure is not allowed: give --allow security.insecure");
    }
    if (instruction.network === "host" && context.options.network !== "host" && !allow.has("network.host")) {
      throw forbidden("RUN --network=host: network.host is not allowed: give --allow network.host");
    }
    const mounts: MountDefinition[] = [];
    let agents = 0;
    const env = new Map(state.env);
    for (const text of instruction.mounts) {
      const mount = parseMount(text, (word) => this.#word(word, instruction.source));
      const absolute = (path: string) => workdir(state.config.WorkingDir, path);
      const from = mount.from ? await context.from(mount.from, this.stage, state.platform) : undefined;
      const path = mount.source ?? "/";
      const { readOnly, required, uid = 0, gid = 0 } = mount;
      switch (mount.type) {
        case "bind":
          mounts.push({ type: "bind", target: absolute(mount.target!), from: from ?? this.#context(), path, readOnly });
          break;
        case "cache": {
          const namespace = context.options.args.get("BUILDKIT_CACHE_MOUNT_NS");
          const id = mount.id || absolute(mount.target!);
          mounts.push({
            type: "cache",
            target: absolute(mount.target!),
            id: namespace ? `${namespace}/${id}` : id,
            sharing: mount.sharing ?? "shared",
            ...(from ? { from } : {}),
            path,
            readOnly,
            mode: mount.mode ?? 0o755,
            uid,
            gid,
          });
          break;
        }
        case "tmpfs":
          mounts.push({ type: "tmpfs", target: absolute(mount.target!), ...(mount.size ? { size: mount.size } : {}) });
          break;
        case "secret": {
          const id = mount.id || mount.source || (mount.target ?? "").split("/").at(-1)!;
          const target = mount.target
            ? absolute(mount.target)
            : mount.env
              ? undefined
              : `/run/secrets/${id.split("/").at(-1)}`;
          mounts.push({
            type: "secret",
            id,
            ...(target ? { target } : {}),
            ...(mount.env ? { env: mount.env } : {}),
            required,
            mode: mount.mode ?? 0o400,
            uid,
            gid,
          });
          break;
        }
        case "ssh": {
          const target = mount.target ? absolute(mount.target) : `/run/buildkit/ssh_agent.${agents}`;
          if (agents++ === 0) env.set("SSH_AUTH_SOCK", target);
          mounts.push({
            type: "ssh",
            id: mount.id || "default",
            target,
            required,
            mode: mount.mode ?? 0o600,
            uid,
            gid,
          });
        }
      }
    }
    const program = heredocProgram(instruction);
    let args: string[];
    if (program && "script" in program) {
      const target = `/dev/pipes/${program.script.name}`;
      mounts.push({ type: "script", target, content: program.script.content });
      args = [target];
    } else args = argv(state.config, program ? { form: "shell", text: program.text } : instruction.command);
    const network = instruction.network === "default" ? context.options.network : instruction.network;
    const step = {
      args,
      env: [...env].map(([name, value]) => `${name}=${value}`),
      cwd: state.config.WorkingDir || "/",
      user: state.config.User ?? "",
      hostname: context.options.args.get("BUILDKIT_SANDBOX_HOSTNAME") || "buildkitsandbox",
      network,
      insecure: instruction.security === "insecure",
    };
    const made = vertex<RunVertex>({
      kind: "run",
      ...this.#step(instruction),
      step,
      mounts,
      proxies: context.args.proxies.filter((entry) => !env.has(entry.slice(0, entry.indexOf("=")))),
    });
    this.#made(instruction, made, ranBy(args, state.args));
  }

  async #copy(written: Copy | Add): Promise<void> {
    const { state, context } = this;
    const word = (text: string) => this.#word(text, written.source);
    const add = written.kind === "add" ? written : undefined;
    const heredocs = written.heredocs.map((heredoc) => ({
      ...heredoc,
      // An escape in a heredoc is `\` whatever the directive says.
      content: heredoc.expand
        ? new Expander("\\", { plainQuotes: true }).word(heredoc.content, this.#lookup)
        : heredoc.content,
    }));
    const sources = written.sources.map(word);
    const destination = word(written.destination);
    const chown = written.chown === undefined ? undefined : word(written.chown);
    const chmod = written.chmod === undefined ? undefined : word(written.chmod);
    const excludes = written.excludes.map(word);
    const checksum = add?.checksum === undefined ? undefined : word(add.checksum);
    const items: CopyDefinition[] = [];
    const from =
      written.kind === "copy" && written.from
        ? await context.from(word(written.from), this.stage, state.platform)
        : undefined;
    const paths: string[] = [];
    for (const source of sources) {
      const git = add && gitReference(source);
      const { noCache } = this.#step(written);
      if (git) {
        const made = vertex<GitVertex>({
          kind: "git",
          name: `[internal] git source ${source}`,
          reference: source,
          keepGitDir: add.keepGitDir ?? false,
          ...(checksum ? { checksum } : {}),
          noCache,
        });
        items.push({ kind: "files", from: made, paths: ["/"] });
      } else if (add && isUrl(source)) {
        const made = vertex<HttpVertex>({
          kind: "http",
          name: source,
          url: source,
          ...(checksum ? { checksum } : {}),
          noCache,
        });
        items.push({ kind: "download", from: made });
      } else paths.push(source);
    }
    if (paths.length > 0) items.push({ kind: "files", from: from ?? this.#context(), paths });
    for (const { name, content } of heredocs) items.push({ kind: "file", name, content });
    const several = sources.length + heredocs.length > 1;
    if (several && !destination.endsWith("/") && destination !== "." && !/\/\.{1,2}$/.test(destination)) {
      throw invalid(
        `When using ${written.kind.toUpperCase()} with more than one source file, the destination must be a directory and end with a /`,
      );
    }
    const directory = /(?:^|\/)\.?$/.test(destination);
    const absolute = workdir(state.config.WorkingDir, destination);
    const made = vertex<CopyVertex>({
      kind: "copy",
      ...this.#step(written),
      items,
      destination: directory && absolute !== "/" ? `${absolute}/` : absolute,
      ...(chown ? { chown } : {}),
      ...(chmod ? { chmod } : {}),
      parents: written.kind === "copy" && written.parents,
      excludes,
      unpack: !add || add.unpack === false ? "never" : add.unpack === true ? "always" : "local",
      link: written.link,
    });
    const shown = { ...written, sources, destination, ...(chown ? { chown } : {}), ...(chmod ? { chmod } : {}) };
    this.#made(written, made, createdBy(shown, state.config));
  }

  #workdir(instruction: Extract<Instruction, { kind: "workdir" }>): void {
    const { state } = this;
    applyInstruction(state.config, instruction);
    const made = vertex<WorkdirVertex>({ kind: "workdir", ...this.#step(instruction), path: state.config.WorkingDir! });
    this.#made(instruction, made, createdBy(instruction, state.config));
  }

  #context(): ContextVertex {
    if (!this.context.options.hasContext) throw invalid("this build has no context: there are no files to copy");
    return vertex<ContextVertex>({ kind: "context", name: "[internal] load build context", context: "context" });
  }

  #step(instruction: Instruction) {
    const { state, context, stage } = this;
    const prefix = StageBuilder.prefix(context, stage, this.#count + 1, this.#total);
    return {
      name: `${prefix} ${instruction.source.code}`,
      base: state.vertex,
      platform: state.platform,
      epoch: state.epoch,
      noCache: this.#noCache,
      source: instruction.source,
    };
  }

  #made(instruction: Instruction, made: Vertex, created: string): void {
    this.#count++;
    this.state.vertex = made;
    this.state.history.push({ createdBy: created, vertex: made, comment: "buildkit.dockerfile.v0" });
    this.state.steps.push({ code: instruction.source.code, vertex: made });
  }
}

/** The triggers that a base image has for its children. */
export function triggersOf(state: StageState): Instruction[] {
  const triggers = state.config.OnBuild ?? [];
  if (triggers.length > MAX_TRIGGERS) throw invalid(`the base image has more than ${MAX_TRIGGERS} triggers`);
  delete state.config.OnBuild;
  return triggers.map((text) => {
    const instruction = parseInstruction(text);
    if (instruction.kind === "onbuild" || instruction.kind === "maintainer") {
      throw invalid(`a trigger of the base image is ${instruction.kind.toUpperCase()}, which is not allowed`);
    }
    return instruction;
  });
}

/** An error about an instruction says where it stands. */
export function located(error: unknown, { line, column }: Source): unknown {
  if (error instanceof DockerfileError || !(error instanceof Error) || !("kind" in error) || error.kind !== "invalid")
    return error;
  return new DockerfileError(
    error.message,
    line,
    column,
    "hint" in error ? (error.hint as string | undefined) : undefined,
  );
}

/** FROM's `--platform`. */
export function stagePlatform(text: string | undefined, fallback: Platform): Platform {
  return text ? parsePlatform(text) : fallback;
}
