import { notImplemented } from "../../base/errors.ts";
import { copyStep, digestSelection, workdirStep } from "../../build/ops/copy.ts";
import { runStep } from "../../build/ops/run.ts";
import type { Ops } from "../../build/ops.ts";

const none = async (): Promise<never> => {
  throw notImplemented("this step of a build is not supported yet");
};

/** What the engine's builds do their steps with. */
export const operations: Ops = {
  runStep,
  copyStep,
  workdirStep,
  digestSelection,
  fetchUrl: none,
  fetchGit: none,
};
