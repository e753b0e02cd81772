import { ExitError } from "../command.ts";
import { type Flag, parseInteger } from "../flags.ts";

const fail = (message: string): never => {
  throw new ExitError(125, message);
};

/** `--restart`, of create, run and update. */
export const restartFlag: Flag = {
  name: "restart",
  type: "string",
  choices: ["no", "on-failure", "always", "unless-stopped"],
  help: "Restart policy: no, on-failure[:N], always, unless-stopped",
};

/** `NAME[:COUNT]`; the engine knows the names. What is no such thing is an ExitError 125. */
export function parseRestartPolicy(text: string): { Name: string; MaximumRetryCount: number } {
  const [Name = "", count, ...more] = text.split(":");
  if (Name === "" && count !== undefined) fail("invalid restart policy format: no policy provided before colon");
  if (count === undefined || count === "") return { Name, MaximumRetryCount: 0 };
  try {
    if (more.length > 0) throw new Error("too many colons");
    return { Name, MaximumRetryCount: parseInteger(count) };
  } catch {
    return fail("invalid restart policy format: maximum retry count must be an integer");
  }
}
