import { errorText } from "./error-text.ts";
import { BrokenPipe, stderr, stdout } from "./output.ts";

/**
 * Does `action` for each name in order and prints what it gives, the name when nothing. Failures are printed and the
 * rest goes on; the status is then 1, but for those that `forgive` takes. Of those that `pass` takes nothing is said.
 */
export async function forEachName(
  names: readonly string[],
  action: (name: string) => Promise<unknown>,
  options: {
    describe?: (error: unknown, name: string) => string | undefined;
    forgive?: (error: unknown) => boolean;
    pass?: (error: unknown) => boolean;
  } = {},
): Promise<number> {
  let status = 0;
  for (const name of names) {
    try {
      const result = await action(name);
      await stdout.line(typeof result === "string" ? result : name);
    } catch (error) {
      if (error instanceof BrokenPipe) throw error;
      if (options.pass?.(error)) continue;
      if (!options.forgive?.(error)) status = 1;
      await stderr.line(options.describe?.(error, name) ?? errorText(error));
    }
  }
  return status;
}

export const MANY = Number.POSITIVE_INFINITY;
