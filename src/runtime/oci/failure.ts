import { errnoName, InroError } from "../../base/errors.ts";
import type { Program } from "../../program/ir.ts";
import { plain } from "../../program/values.ts";
import { launchError } from "../diagnose.ts";
import type { RowFailure } from "./spawn.ts";

/** The errors whose words callers look for: docker and podman make exit codes 126 and 127 of them. */
export function commandError(command: string, code: string): InroError | undefined {
  const shown = JSON.stringify(command);
  const start = "unable to start container process: exec:";
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      return command.includes("/")
        ? new InroError("invalid", `${start} ${shown}: stat ${command}: no such file or directory`)
        : new InroError("invalid", `${start} ${shown}: executable file not found in $PATH`);
    case "EACCES":
      return new InroError("invalid", `${start} ${shown}: permission denied`);
    case "ENOEXEC":
      return new InroError("invalid", `${start} ${shown}: exec format error`);
  }
  return undefined;
}

/** The error of a row that failed before its program was gone. */
export function programError(program: Program, failure: RowFailure, command: string): Error {
  const row = program.rows[failure.row];
  if (failure.row < 0 || !row) return new InroError("internal", "launch: the process was killed before it ran");
  const call = row.kind === "call" || row.kind === "fail" ? row.call : "";
  if (call === "execve" || call === "faccessat") {
    const error = commandError(command, errnoName(failure.errno));
    if (error) return error;
  }
  // The property that asked for it, where the step's own words do not say.
  const { message } = launchError(program, failure);
  const why = /^(linux|process|mounts|root|hooks)\b/.test(row.why) ? `${plain(row.why)}: ` : "";
  return new InroError("internal", `unable to start container process: ${why}${message}`);
}
