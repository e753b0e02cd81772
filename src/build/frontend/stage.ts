import { forbidden, InroError, invalid } from "../../base/errors.ts";
import type { BuildWarning } from "../../spec/build.ts";
import type { Platform } from "../../spec/oci-image.ts";
import { applyInstruction, argv, workdir } from "../changes.ts";
import type { Add, Arg, Copy, Instruction, Run, Source, Stage } from "../dockerfile/ast.ts";
import { DockerfileError, InstructionError } from "../dockerfile/error.ts";
import { Expander } from "../dockerfile/expand.ts";
import { heredocProgram } from "../dockerfile/run.ts";
import {
  type ContextVertex,
  type CopyVertex,
  type RunVertex,
  type Vertex,
  vertex,
  type WorkdirVertex,
} from "../graph.ts";
import type { Arguments } from "./arguments.ts";
import { fetched } from "./fetched.ts";
import { createdBy, ranBy } from "./history.ts";
import type { FrontendOptions } from "./options.ts";
import { mountDefinitions } from "./run-mounts.ts";
import type { StageState } from "./stage-state.ts";

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
    const env = new Map(state.env);
    const { mounts, agent } = await mountDefinitions(instruction.mounts, {
      word: (text) => this.#word(text, instruction.source),
      absolute: (path) => workdir(state.config.WorkingDir, path),
      from: (name) => context.from(name, this.stage, state.platform),
      context: () => this.#context(),
      cacheNamespace: context.options.args.get("BUILDKIT_CACHE_MOUNT_NS"),
    });
    if (agent !== undefined) env.set("SSH_AUTH_SOCK", agent);
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
    const from =
      written.kind === "copy" && written.from
        ? await context.from(word(written.from), this.stage, state.platform)
        : undefined;
    const { items, paths } = add
      ? fetched(sources, { ...add, checksum }, this.#noCache)
      : { items: [], paths: sources };
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

/** An error about an instruction says where it stands. */
export function located(error: unknown, { line, endLine, column }: Source): unknown {
  if (!(error instanceof InroError) || error instanceof DockerfileError || error instanceof InstructionError)
    return error;
  if (error.kind !== "invalid") return new InstructionError(error, line, endLine);
  const hint = "hint" in error ? (error.hint as string | undefined) : undefined;
  return new DockerfileError(error.message, line, column, hint);
}
