import { copyStep, digestSelection, workdirStep } from "../../build/ops/copy.ts";
import { fetchGit } from "../../build/ops/git.ts";
import { fetchUrl } from "../../build/ops/http.ts";
import { runStep } from "../../build/ops/run.ts";
import type { Ops } from "../../build/ops.ts";

/** What the engine's builds do their steps with. */
export const operations: Ops = { runStep, copyStep, workdirStep, digestSelection, fetchUrl, fetchGit };
