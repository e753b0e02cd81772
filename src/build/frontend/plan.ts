import { invalid } from "../../base/errors.ts";
import { nearest } from "../../base/nearest.ts";
import { parsePlatform } from "../../images/platform.ts";
import { canonical, parseReference, withDefaultTag } from "../../images/reference.ts";
import type { BuildWarning } from "../../spec/build.ts";
import type { Platform } from "../../spec/oci-image.ts";
import type { Dockerfile, Stage } from "../dockerfile/ast.ts";
import { Expander } from "../dockerfile/expand.ts";
import {
  type ContextVertex,
  type GitVertex,
  type HttpVertex,
  type ImageVertex,
  type Vertex,
  vertex,
} from "../graph.ts";
import { Arguments } from "./arguments.ts";
import type { FrontendOptions, Plan } from "./options.ts";
import { located, StageBuilder, type StageContext } from "./stage.ts";
import { SCRATCH_VERTEX, StageState } from "./stage-state.ts";
import { triggersOf } from "./triggers.ts";

/**
 * Turns a Dockerfile into a graph. Only what `target` (default: the last stage) needs is looked at; base images are
 * resolved at the same time. Errors: DockerfileError where an instruction is wrong; those of `resolve`.
 */
export async function planDockerfile(file: Dockerfile, options: FrontendOptions): Promise<Plan> {
  return await new Planner(file, options).plan();
}

class Planner implements StageContext {
  readonly args: Arguments;
  readonly token: "\\" | "`";
  readonly warnings: BuildWarning[];
  readonly epoch: number | undefined;
  readonly stages: number;
  readonly #done = new Map<number, Promise<StageState>>();
  readonly #others = new Map<string, Promise<Vertex>>();
  readonly #expander: Expander;

  constructor(
    private readonly file: Dockerfile,
    readonly options: FrontendOptions,
  ) {
    this.token = file.directives.escape;
    this.#expander = new Expander(this.token);
    this.epoch = epochOf(options.args.get("SOURCE_DATE_EPOCH"));
    this.args = new Arguments(options, file, this.#expander);
    this.stages = file.stages.length;
    this.warnings = file.warnings.map(({ rule, detail, description, url, line, endLine }) => ({
      rule,
      short: `${rule}: ${detail} (line ${line})`,
      detail: description,
      url,
      line,
      endLine,
    }));
  }

  async plan(): Promise<Plan> {
    const { options } = this;
    const state = await this.#stage(this.#target());
    const config = state.config;
    if (options.labels.size > 0) config.Labels = { ...config.Labels, ...Object.fromEntries(options.labels) };
    // ONBUILD images show their triggers in the config; what a stage took from its base is gone.
    const states = await Promise.all([...this.#done].sort(([a], [b]) => a - b).map(([, one]) => one));
    return {
      target: state.vertex,
      platform: state.platform,
      image: { ...state.platform, ...(state.author ? { author: state.author } : {}), config },
      inherited: state.inherited,
      history: state.history,
      epoch: state.epoch,
      warnings: this.warnings,
      steps: states.flatMap(({ steps }) => steps),
      unusedArgs: this.args.unused,
    };
  }

  #target(): Stage {
    const { stages } = this.file;
    const { target } = this.options;
    if (!target) return stages.at(-1)!;
    const lower = target.toLowerCase();
    const found =
      stages.findLast(({ name }) => name === lower) ?? (/^\d{1,6}$/.test(target) ? stages[Number(target)] : undefined);
    if (found) return found;
    const near = nearest(
      lower,
      stages.flatMap(({ name }) => name ?? []),
    );
    throw invalid(
      `target stage ${JSON.stringify(target.slice(0, 100))} could not be found${near ? ` (did you mean ${near}?)` : ""}`,
    );
  }

  #stage(stage: Stage): Promise<StageState> {
    const known = this.#done.get(stage.index);
    if (known) return known;
    const made = this.#build(stage);
    made.catch(() => {});
    this.#done.set(stage.index, made);
    return made;
  }

  async #build(stage: Stage): Promise<StageState> {
    let state: StageState;
    try {
      this.#ahead(stage);
      state = await this.#base(stage);
    } catch (error) {
      throw located(error, stage.source);
    }
    const triggers = triggersOf(state);
    await new StageBuilder(this, stage, state, triggers).run(triggers);
    return state;
  }

  /** What the stage will ask for is begun at once, so that images are resolved side by side. */
  #ahead(stage: Stage): void {
    for (const one of stage.instructions) {
      const names =
        one.kind === "copy" && one.from
          ? [one.from]
          : one.kind === "run"
            ? one.mounts.flatMap((mount) => /(?:^|,)from=([^,"]+)/i.exec(mount)?.[1] ?? [])
            : [];
      for (const name of names) if (!name.includes("$")) this.from(name, stage, this.options.platform).catch(() => {});
    }
  }

  async #base(stage: Stage): Promise<StageState> {
    const { options, args } = this;
    // A context of the stage's name takes its place.
    const replaced = stage.name === undefined ? undefined : options.contexts.get(stage.name);
    const expander = new Expander(this.token);
    const reference = expander.word(stage.from.reference, args.lookup);
    const platformText = stage.from.platform && expander.word(stage.from.platform, args.lookup);
    const platform = platformText ? parsePlatform(platformText) : options.platform;
    if (reference === "") throw invalid(`base name (${stage.from.reference.slice(0, 100)}) should not be blank`);
    if (replaced?.kind === "image") return this.#image(stage, replaced.reference, platform);
    const earlier = this.file.stages.slice(0, stage.index).findLast(({ name }) => name === reference.toLowerCase());
    if (earlier) return StageState.after(await this.#stage(earlier));
    const context = options.contexts.get(reference) ?? options.contexts.get(reference.toLowerCase());
    if (context?.kind === "image") return this.#image(stage, context.reference, platform);
    if (context) {
      const state = new StageState(platform);
      state.epoch = this.epoch ?? state.epoch;
      state.vertex = this.#named(reference, context);
      return state;
    }
    if (reference === "scratch") {
      const state = new StageState(platform);
      state.epoch = this.epoch ?? state.epoch;
      return state;
    }
    return this.#image(stage, reference, platform);
  }

  async #image(stage: Stage, reference: string, platform: Platform): Promise<StageState> {
    const image = await this.options.resolve(reference, platform);
    const makes = stage.instructions.filter(({ kind }) => ["run", "copy", "add", "workdir"].includes(kind)).length;
    const triggers = (image.config.config?.OnBuild ?? []).filter((text) =>
      /^\s*(run|copy|add|workdir)\b/i.test(text),
    ).length;
    const name = `${StageBuilder.prefix(this, stage, 1, 1 + makes + triggers)} FROM ${image.reference}`;
    return StageState.of(image, name, this.epoch);
  }

  async from(name: string, stage: Stage, platform: Platform): Promise<Vertex> {
    const { stages } = this.file;
    const lower = name.toLowerCase();
    const earlier =
      (/^\d{1,6}$/.test(name) ? stages[Number(name)] : undefined) ??
      stages.findLast((one) => one.name === lower && one.index < stage.index) ??
      stages.find((one) => one.name === lower);
    if (earlier) {
      if (earlier.index === stage.index)
        throw invalid(`circular dependency: stage ${quotedName(name)} takes files from itself`);
      if (earlier.index > stage.index)
        throw invalid(`stage ${quotedName(name)} comes only later: its files cannot be taken yet`);
      return (await this.#stage(earlier)).vertex;
    }
    if (/^\d{1,6}$/.test(name)) throw invalid(`invalid stage index ${name}: there are ${stages.length} stages`);
    const key = JSON.stringify([name, platform]);
    const known = this.#others.get(key);
    if (known) return known;
    const made = this.#other(name, platform);
    made.catch(() => {});
    this.#others.set(key, made);
    return made;
  }

  async #other(name: string, platform: Platform): Promise<Vertex> {
    const context = this.options.contexts.get(name) ?? this.options.contexts.get(name.toLowerCase());
    if (context && context.kind !== "image") return this.#named(name, context);
    if (name === "scratch") return SCRATCH_VERTEX;
    const image = await this.options.resolve(context?.reference ?? name, platform);
    return vertex<ImageVertex>({
      kind: "image",
      name: `FROM ${image.reference}`,
      reference: image.reference,
      id: image.id,
      layers: image.layers,
    });
  }

  #named(
    name: string,
    context: Exclude<typeof this.options.contexts extends ReadonlyMap<string, infer C> ? C : never, { kind: "image" }>,
  ): Vertex {
    switch (context.kind) {
      case "files":
        return vertex<ContextVertex>({ kind: "context", name: `[context ${name}] load files`, context: name });
      case "git":
        return vertex<GitVertex>({
          kind: "git",
          name: `[context ${name}] ${context.reference}`,
          reference: context.reference,
          keepGitDir: false,
          noCache: false,
        });
      case "http":
        return vertex<HttpVertex>({
          kind: "http",
          name: `[context ${name}] ${context.url}`,
          url: context.url,
          noCache: false,
        });
      case "stage":
        throw invalid(`build context ${name}: other targets are not supported`);
    }
  }
}

const quotedName = (name: string) => JSON.stringify(name.slice(0, 100));

/** Seconds of SOURCE_DATE_EPOCH (reproducible-builds.org/specs/source-date-epoch). */
function epochOf(text: string | undefined): number | undefined {
  if (text === undefined || text === "") return undefined;
  if (!/^\d{1,11}$/.test(text)) throw invalid(`invalid SOURCE_DATE_EPOCH: ${JSON.stringify(text.slice(0, 60))}`);
  return Number(text);
}

/** The whole name of an image as a Dockerfile has it. */
export function wholeName(reference: string): string {
  return canonical(withDefaultTag(parseReference(reference)));
}
