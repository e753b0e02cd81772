import { type Environment, TimedCommand } from "../command.ts";
import type { Subject } from "../subject.ts";
import type { Workspace } from "../workspace.ts";

/** A command as a subject: from before its spawn until it has ended. */
export function cliSubject(
  workspace: Workspace,
  options: { name: string; does: string; argv: readonly string[]; env: Environment },
): Subject {
  const command = new TimedCommand(options.argv, options.env, workspace.dir);
  workspace.undo(options.name, () => command.close());
  return { name: options.name, does: options.does, run: () => command.run() };
}
