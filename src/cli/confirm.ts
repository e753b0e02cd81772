import { ExitError } from "./command.ts";
import type { Flag } from "./flags.ts";
import { stdout } from "./output.ts";

export const forceFlag: Flag = { name: "force", short: "f", type: "bool", help: "Do not ask" };

/** Prints a warning and asks; anything but y or yes, the end of stdin too, ends the command quietly, as in docker. */
export async function confirm(warning: string): Promise<void> {
  await stdout.write(`${warning}\nAre you sure you want to continue? [y/N] `);
  if (/^\s*y(es)?\s*$/i.test(await firstLine())) return;
  throw new ExitError(0, "");
}

async function firstLine(): Promise<string> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of Bun.stdin.stream()) {
    text += decoder.decode(chunk, { stream: true });
    if (text.includes("\n") || text.length > 1024) break;
  }
  return text.split("\n")[0]!;
}
