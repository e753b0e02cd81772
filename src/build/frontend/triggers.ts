import { invalid } from "../../base/errors.ts";
import type { Instruction } from "../dockerfile/ast.ts";
import { parseInstruction } from "../dockerfile/parse.ts";
import type { StageState } from "./stage-state.ts";

const MAX_TRIGGERS = 1000;

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
