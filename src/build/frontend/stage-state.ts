import type { ImageConfig, Platform } from "../../spec/oci-image.ts";
import { type ImageVertex, type Scratch, type Vertex, vertex } from "../graph.ts";
import type { BaseImage, PlannedHistory } from "./options.ts";

type Defaults = NonNullable<ImageConfig["config"]>;

const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** For what has no base image with a date: zip and its kin know no earlier ones. */
export const EARLIEST = Date.UTC(1980, 0, 1) / 1000;

export const SCRATCH_VERTEX: Scratch = vertex<Scratch>({ kind: "scratch", name: "scratch" });

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
