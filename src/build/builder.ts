import { InroError, messageOf } from "../base/errors.ts";
import { formatPlatform } from "../images/platform.ts";
import type { StoredLayer } from "../images/store.ts";
import type { BuildEvent } from "../spec/build.ts";
import type { ImageConfig, Platform } from "../spec/oci-image.ts";
import type { CacheRecord } from "./cache.ts";
import { type Description, describeOutline, describeTargets, describeWarnings } from "./describe.ts";
import type { Dockerfile, Warning } from "./dockerfile/ast.ts";
import { DockerfileError, InstructionError } from "./dockerfile/error.ts";
import { excerpt } from "./excerpt.ts";
import type { BaseImage, FrontendOptions, Plan } from "./frontend/options.ts";
import { planDockerfile } from "./frontend/plan.ts";
import { inputsOf, type Vertex } from "./graph.ts";
import { parseAside } from "./parse.ts";
import { Progress } from "./progress.ts";
import { type Solve, VertexError } from "./solve.ts";
import type { BuildSession, Solver } from "./solver.ts";

/** One build, as any protocol may ask for it. */
export interface BuildRequest extends BuildSession {
  /** The Dockerfile, and its name for messages. */
  dockerfile(signal: AbortSignal): Promise<{ text: string; name: string }>;
  readonly frontend: Omit<FrontendOptions, "platform" | "multiPlatform" | "resolve">;
  /** At least one. */
  readonly platforms: readonly Platform[];
  /** Makes an image local; `pull` looks for a newer one. */
  resolve(reference: string, platform: Platform, signal: AbortSignal): Promise<BaseImage>;
}

export interface BuiltImage {
  readonly platform: Platform;
  /** The image's configuration as JSON. */
  readonly config: string;
  /** Base first; here, and held until the result is closed. */
  readonly layers: readonly StoredLayer[];
}

/** A base image that is here, or what was fetched from a URI, credentials and queries left out. */
export type Material =
  | Pick<BaseImage, "reference" | "id">
  | { readonly uri: string; readonly digest: Readonly<Record<string, string>> };

/** What a build has for others' caches. */
export interface BuildCacheContent {
  /** Of the images' own steps, or of all. Base first. */
  records(mode: "min" | "max"): CacheRecord[];
  /** Each source and selection once. */
  readonly selections: readonly (readonly [source: string, selection: string, digest: string])[];
  /** Ids of the cache mounts of its RUN steps. */
  readonly mounts: readonly string[];
}

/** To be closed when it is exported. */
export interface BuildResult {
  /** One a platform, in the request's order. */
  readonly images: readonly BuiltImage[];
  /** Seconds since 1970, of the youngest image. */
  readonly epoch: number;
  /** What was taken from elsewhere, each once, in no order. */
  readonly materials: readonly Material[];
  /** For the export of a cache; here, and held as the layers are. */
  readonly cache: BuildCacheContent;
  close(): Promise<void>;
}

/** A build that failed at a step, or at an instruction. */
export class BuildFailed extends InroError {
  override name = "BuildFailed";
  constructor(
    message: string,
    cause: unknown,
    /** Progress' name of the step. */
    readonly step: string | undefined,
    /** Where it stands, and the lines around it. */
    readonly excerpt: string | undefined,
  ) {
    super(cause instanceof InroError ? cause.kind : "internal", message, { cause });
  }
}

/** Builds images. Knows no protocol: the request's functions reach the client. */
export class Builder<R extends BuildRequest> {
  constructor(private readonly solver: Solver<R>) {}

  /** Rejects with BuildFailed, with what is wrong with the request, or with the signal's reason; then nothing is held. */
  async build(request: R, report: (event: BuildEvent) => void, signal: AbortSignal): Promise<BuildResult> {
    const progress = new Progress(report);
    const file = await progress.during("[internal] load build definition from Dockerfile", () =>
      request.dockerfile(signal),
    );
    let parsed: Dockerfile;
    try {
      parsed = await parseAside(file.text, signal);
    } catch (error) {
      throw withExcerpt(error, file);
    }
    let plans: Plan[];
    try {
      plans = await this.#plans(parsed, request, progress, signal);
    } catch (error) {
      throw withExcerpt(error, file);
    }
    announce(plans, progress, file.name);
    const solve = this.solver.open(request, progress, signal);
    try {
      const images = await Promise.all(plans.map((plan) => this.#image(plan, solve)));
      const epoch = Math.max(...plans.map((plan) => plan.epoch));
      const materials = materialsOf(plans, solve);
      return { images, epoch, materials, cache: cacheOf(plans, solve), close: () => solve.close() };
    } catch (error) {
      await solve.close();
      signal.throwIfAborted();
      throw failed(error, file);
    }
  }

  /** Another look at the Dockerfile: nothing is built. As of {@link build}. */
  async look(request: R, call: "check" | "outline" | "targets", signal: AbortSignal): Promise<Description> {
    const file = await request.dockerfile(signal);
    let parsed: Dockerfile;
    try {
      parsed = await parseAside(file.text, signal);
    } catch (error) {
      throw withExcerpt(error, file);
    }
    if (call === "targets") return describeTargets(parsed);
    const { target, args } = request.frontend;
    if (call === "outline") return describeOutline(parsed, target, args);
    return describeWarnings(await this.#warnings(parsed, request, signal), file);
  }

  /** Those of the text, and those that show with values, as far as the base images are to be had. */
  async #warnings(parsed: Dockerfile, request: R, signal: AbortSignal): Promise<Warning[]> {
    const found = new Map<string, Warning>();
    const add = (warning: Warning) => found.set(JSON.stringify([warning.rule, warning.line, warning.detail]), warning);
    for (const warning of parsed.warnings) add(warning);
    try {
      for (const plan of await this.#plans(parsed, request, new Progress(() => {}), signal)) {
        for (const { rule, short, detail = "", url = "", line, endLine } of plan.warnings) {
          if (rule !== "UndefinedVar" || line === undefined || endLine === undefined) continue;
          const text = short.replace(/^UndefinedVar: /, "").replace(/ \(line \d+\)$/, "");
          add({ rule, description: detail, detail: text, url, line, endLine });
        }
      }
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof DockerfileError) throw error;
    }
    return [...found.values()].sort((a, b) => a.line - b.line);
  }

  async #plans(parsed: Dockerfile, request: R, progress: Progress, signal: AbortSignal): Promise<Plan[]> {
    const resolved = new Map<string, Promise<BaseImage>>();
    const resolve = (reference: string, platform: Platform) => {
      const key = JSON.stringify([reference, formatPlatform(platform)]);
      const known = resolved.get(key);
      if (known) return known;
      const name = `[internal] load metadata for ${reference}`;
      const made = progress.during(name, () => request.resolve(reference, platform, signal));
      resolved.set(key, made);
      return made;
    };
    const multiPlatform = request.platforms.length > 1;
    return await Promise.all(
      request.platforms.map((platform) =>
        planDockerfile(parsed, { ...request.frontend, platform, multiPlatform, resolve }),
      ),
    );
  }

  async #image(plan: Plan, solve: Solve<R>): Promise<BuiltImage> {
    const { layers } = await solve.snapshot(plan.target);
    const created = new Date(plan.epoch * 1000).toISOString().replace(".000Z", "Z");
    const own = plan.history.map(({ createdBy, vertex, comment }) => ({
      created,
      created_by: createdBy,
      comment: comment ?? "buildkit.dockerfile.v0",
      ...(vertex && solve.hasLayer(vertex) ? {} : { empty_layer: true }),
    }));
    const ownLayers = own.filter((entry) => !("empty_layer" in entry)).length;
    const config: ImageConfig = {
      created,
      ...plan.image,
      rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
      history: [...fitted(plan.inherited, layers.length - ownLayers, created), ...own],
    };
    return { platform: plan.platform, config: JSON.stringify(config), layers };
  }
}

function cacheOf(plans: readonly Plan[], solve: Pick<Solve<never>, "recordsOf" | "selections">): BuildCacheContent {
  const mounts = new Set<string>();
  for (const one of verticesOf(plans)) {
    if (one.kind === "run") for (const mount of one.mounts) if (mount.type === "cache") mounts.add(mount.id);
  }
  return {
    records(mode) {
      const all = plans.flatMap(({ target }) => solve.recordsOf(target, mode));
      return [...new Map(all.map((record) => [record.key, record])).values()];
    },
    selections: [...new Map(solve.selections.map((one) => [`${one[0]} ${one[1]}`, one])).values()],
    mounts: [...mounts],
  };
}

/** All that the plans have, each once. */
function verticesOf(plans: readonly Plan[]): Iterable<Vertex> {
  const seen = new Map<string, Vertex>();
  const visit = (one: Vertex) => {
    if (seen.has(one.digest)) return;
    seen.set(one.digest, one);
    for (const input of inputsOf(one)) visit(input);
  };
  for (const { target } of plans) visit(target);
  return seen.values();
}

function materialsOf(plans: readonly Plan[], solve: Pick<Solve<never>, "fetched">): Material[] {
  const found = new Map<string, Material>();
  for (const one of verticesOf(plans)) {
    if (one.kind === "image") found.set(one.id, { reference: one.reference, id: one.id });
  }
  for (const fetched of solve.fetched) found.set(fetched.uri, fetched);
  return [...found.values()];
}

/** The base image's history, with as many layers as the image has. */
function fitted(
  inherited: NonNullable<ImageConfig["history"]>,
  layers: number,
  created: string,
): NonNullable<ImageConfig["history"]> {
  let count = 0;
  const entries = inherited.map((entry) => {
    if (entry.empty_layer) return entry;
    count++;
    return count > layers ? { ...entry, empty_layer: true } : entry;
  });
  while (count++ < layers) entries.push({ created, comment: "layer of the base image" });
  return entries;
}

function announce(plans: readonly Plan[], progress: Progress, file: string): void {
  const [first] = plans;
  progress.send({
    plan: first!.steps.map(({ code, vertex }) => ({ code, ...(vertex ? { vertex: vertex.digest } : {}) })),
  });
  const warnings = first!.warnings.map((warning) => ({ ...warning, file }));
  if (first!.unusedArgs.length > 0) {
    warnings.push({
      short: `[Warning] One or more build-args ${JSON.stringify(first!.unusedArgs)} were not consumed`,
      file,
    });
  }
  if (warnings.length > 0) progress.send({ warnings });
}

function failed(error: unknown, file: { text: string; name: string }): unknown {
  if (!(error instanceof VertexError)) return error;
  const { vertex, cause } = error;
  const source = "source" in vertex ? vertex.source : undefined;
  const text = `failed to solve: ${messageOf(cause)}`;
  return new BuildFailed(text, cause, vertex.name, source && excerpt(file, source));
}

function withExcerpt(error: unknown, file: { text: string; name: string }): unknown {
  if (!(error instanceof InroError)) return error;
  // Every Error of this platform has a `line`, of the program's own text.
  const place =
    error instanceof InstructionError
      ? error
      : error instanceof DockerfileError
        ? { line: error.line, endLine: error.line }
        : undefined;
  return new BuildFailed(`failed to solve: ${error.message}`, error, undefined, place && excerpt(file, place));
}
