import { createHash } from "node:crypto";
import type { StoredLayer } from "../images/store.ts";
import type { Platform } from "../spec/oci-image.ts";
import type { Source } from "./dockerfile/ast.ts";
import type { CopyStep, RunMount, RunStep } from "./step.ts";

/** What a Dockerfile says, as a graph: every vertex is one piece of work, and names what it needs. Plain data. */

interface Base<K extends string> {
  readonly kind: K;
  /** As progress shows it: `[build 2/5] RUN make`. */
  readonly name: string;
  /** Of the definition, inputs included: the same in every build that says the same. */
  readonly digest: string;
}

/** Steps on a root file system. */
interface Step<K extends string> extends Base<K> {
  readonly base: Vertex;
  readonly platform: Platform;
  /** Seconds since 1970: no file of the layer is younger. */
  readonly epoch: number;
  readonly noCache: boolean;
  /** The instruction, for messages. */
  readonly source?: Source;
}

/** The empty root file system. */
export type Scratch = Base<"scratch">;
/** An image that is here. */
export interface ImageVertex extends Base<"image"> {
  readonly reference: string;
  readonly id: string;
  readonly layers: readonly StoredLayer[];
}
/** Files of the client: the build context, or a named one. */
export interface ContextVertex extends Base<"context"> {
  /** `context` is the main one. */
  readonly context: string;
}
/** What is fetched from a URL. */
export interface HttpVertex extends Base<"http"> {
  readonly url: string;
  readonly checksum?: string;
  readonly noCache: boolean;
}
export interface GitVertex extends Base<"git"> {
  readonly reference: string;
  readonly keepGitDir: boolean;
  readonly checksum?: string;
  readonly noCache: boolean;
}

type Mount<T extends RunMount["type"]> = Extract<RunMount, { type: T }>;

/** As a step has them, but with vertices where that has files. */
export type MountDefinition =
  | (Omit<Mount<"bind">, "source"> & { readonly from: Vertex })
  | (Omit<Mount<"cache">, "from"> & { readonly from?: Vertex; readonly path: string })
  | Exclude<RunMount, { type: "bind" | "cache" }>
  /** A heredoc that is a program of its own. */
  | { readonly type: "script"; readonly target: string; readonly content: string };

export interface RunVertex extends Step<"run"> {
  readonly step: Omit<RunStep, "mounts" | "limits" | "shmSize" | "ulimits">;
  readonly mounts: readonly MountDefinition[];
  /** Environment that is no part of the cache's key: proxies. */
  readonly proxies: readonly string[];
}

export type CopyDefinition =
  | { readonly kind: "files"; readonly from: Vertex; readonly paths: readonly string[] }
  | { readonly kind: "file"; readonly name: string; readonly content: string }
  | { readonly kind: "download"; readonly from: HttpVertex };

export interface CopyVertex extends Step<"copy">, Omit<CopyStep, "items"> {
  readonly items: readonly CopyDefinition[];
}

export interface WorkdirVertex extends Step<"workdir"> {
  readonly path: string;
}

export type StepVertex = RunVertex | CopyVertex | WorkdirVertex;
export type Vertex = Scratch | ImageVertex | ContextVertex | HttpVertex | GitVertex | StepVertex;

type Draft<V extends Vertex> = Omit<V, "digest">;

/** Gives a vertex its digest. */
export function vertex<V extends Vertex>(draft: Draft<V>): V {
  const { name: _, source: __, ...meaning } = draft as Record<string, unknown>;
  return { ...draft, digest: digestOf(meaning) } as V;
}

/** sha256 of a value as JSON with sorted keys; vertices in it count by their digests. */
export function digestOf(value: unknown): string {
  const text = JSON.stringify(value, (_, one) => {
    if (typeof one !== "object" || one === null || Array.isArray(one)) return one;
    if (typeof one.digest === "string" && typeof one.kind === "string") return one.digest;
    return Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
  return `sha256:${createHash("sha256").update(text).digest("hex")}`;
}

/** What a vertex needs, each once. */
export function inputsOf(one: Vertex): Vertex[] {
  const inputs: Vertex[] = "base" in one ? [one.base] : [];
  if (one.kind === "run") for (const mount of one.mounts) if ("from" in mount && mount.from) inputs.push(mount.from);
  if (one.kind === "copy") for (const item of one.items) if (item.kind !== "file") inputs.push(item.from);
  return [...new Map(inputs.map((input) => [input.digest, input])).values()];
}

/** The graph as text, for tests and for a reader: one line a vertex, what it needs first. */
export function printGraph(target: Vertex): string {
  const numbers = new Map<string, number>();
  const lines: string[] = [];
  const visit = (one: Vertex): number => {
    const known = numbers.get(one.digest);
    if (known !== undefined) return known;
    const inputs = inputsOf(one).map(visit);
    const number = numbers.size + 1;
    numbers.set(one.digest, number);
    const from = inputs.length > 0 ? ` <- ${inputs.join(", ")}` : "";
    lines.push(`${number} ${describe(one)}${from}`);
    return number;
  };
  visit(target);
  return lines.join("\n");
}

function describe(one: Vertex): string {
  switch (one.kind) {
    case "scratch":
      return "scratch";
    case "image":
      return `image ${one.reference}`;
    case "context":
      return `context ${one.context}`;
    case "http":
      return `http ${one.url}`;
    case "git":
      return `git ${one.reference}`;
    case "workdir":
      return `workdir ${one.path}`;
    case "copy": {
      const items = one.items.map((item) =>
        item.kind === "files" ? item.paths.join(" ") : item.kind === "file" ? `<<${item.name}` : item.from.url,
      );
      const flags = [
        one.chown && `chown=${one.chown}`,
        one.chmod && `chmod=${one.chmod}`,
        one.link && "link",
        one.parents && "parents",
        one.unpack !== "never" && `unpack=${one.unpack}`,
        ...one.excludes.map((pattern) => `exclude=${pattern}`),
      ].filter(Boolean);
      return `copy ${[...items, one.destination, ...flags].join(" ")}`;
    }
    case "run": {
      const { args, env, cwd, user, network } = one.step;
      const words = [`cwd=${cwd}`, user && `user=${user}`, network !== "default" && `network=${network}`];
      const mounts = one.mounts.map(
        (mount) => `${mount.type}:${("target" in mount && mount.target) || ("id" in mount && mount.id)}`,
      );
      const visible = env.filter((entry) => !entry.startsWith("PATH="));
      return `run ${JSON.stringify(args)} ${[...words.filter(Boolean), ...visible, ...mounts].join(" ")}`.trimEnd();
    }
  }
}
