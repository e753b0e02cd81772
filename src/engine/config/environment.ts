import { invalid } from "../../base/errors.ts";

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Env of a request: `NAME=value`, or `NAME` alone to take a default or image variable away. Throws invalid. */
export function checkEnv(env: readonly string[]): void {
  for (const variable of env) {
    if (variable === "" || variable.startsWith("=")) {
      throw invalid(`invalid environment variable: ${JSON.stringify(variable.slice(0, 128)).slice(1, -1)}`);
    }
  }
}

/**
 * process.env: the defaults, then each layer over what is before it; a name keeps its first place and its last value.
 * HOME goes last, unless a layer sets it to something.
 */
export function environment(
  facts: { hostname: string; terminal: boolean; home: string },
  ...layers: readonly (readonly string[])[]
): string[] {
  const variables = new Map<string, string>([
    ["PATH", DEFAULT_PATH],
    ["HOSTNAME", facts.hostname],
  ]);
  if (facts.terminal) variables.set("TERM", "xterm");
  for (const variable of layers.flat()) {
    const at = variable.indexOf("=");
    if (at < 0) variables.delete(variable);
    else if (at > 0) variables.set(variable.slice(0, at), variable.slice(at + 1));
  }
  if (!variables.get("HOME")) variables.set("HOME", facts.home);
  return [...variables].map(([name, value]) => `${name}=${value}`);
}
