import { InroError } from "../../base/errors.ts";

/** A command of a build that ended with another code than 0, or by a signal: 128 and its number. */
export class StepFailed extends InroError {
  override name = "StepFailed";

  constructor(
    command: string,
    readonly exitCode: number,
    readonly oomKilled: boolean,
  ) {
    const why = oomKilled ? ": killed, out of memory" : "";
    super("invalid", `process ${JSON.stringify(command)} did not complete successfully: exit code: ${exitCode}${why}`);
  }
}
