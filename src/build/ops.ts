import type { StoredLayer } from "../images/store.ts";
import type { CopyStep, Download, FileSource, RunStep, Snapshot, StepContext } from "./step.ts";

export interface SelectionOptions {
  readonly parents: boolean;
  readonly excludes: readonly string[];
  readonly unpack?: "never" | "local" | "always";
}

/** What the solver has done by others (ops/); tests give their own. */
export interface Ops {
  runStep(step: RunStep, base: Snapshot, ctx: StepContext): Promise<StoredLayer | undefined>;
  copyStep(step: CopyStep, base: Snapshot, ctx: StepContext): Promise<StoredLayer | undefined>;
  workdirStep(path: string, base: Snapshot, ctx: StepContext): Promise<StoredLayer | undefined>;
  digestSelection(
    source: FileSource,
    paths: readonly string[],
    options: SelectionOptions,
    ctx: StepContext,
  ): Promise<string>;
  fetchUrl(url: string, options: { checksum?: string }, ctx: StepContext): Promise<Download>;
  fetchGit(
    reference: string,
    options: { keepGitDir: boolean; checksum?: string },
    ctx: StepContext,
  ): Promise<{ source: FileSource; commit: string; release(): Promise<void> | void }>;
}
