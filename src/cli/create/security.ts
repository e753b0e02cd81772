import { ExitError } from "../command.ts";

/**
 * Prepares --security-opt for the API: a seccomp profile's file is read here and sent as its JSON, since the engine
 * must not read files that only the caller names; `systempaths=unconfined` becomes empty path lists.
 */
export function securityOptions(values: readonly string[]): { options: string[]; unconfinedPaths: boolean } {
  const options: string[] = [];
  let unconfinedPaths = false;
  for (const value of values) {
    const separator = value.includes("=") ? "=" : ":";
    const at = value.indexOf(separator);
    if (at < 0 && value !== "no-new-privileges") {
      throw new ExitError(125, `Invalid --security-opt: ${JSON.stringify(value)}`);
    }
    const key = at < 0 ? value : value.slice(0, at);
    const argument = at < 0 ? "" : value.slice(at + 1);
    if (key === "systempaths" && argument === "unconfined") unconfinedPaths = true;
    else if (key === "seccomp" && argument !== "unconfined" && argument !== "builtin") {
      options.push(`seccomp=${readProfile(argument)}`);
    } else options.push(value);
  }
  return { options, unconfinedPaths };
}

function readProfile(path: string): string {
  let text: string;
  try {
    // Loading node:fs costs 2 ms.
    text = (require("node:fs") as typeof import("node:fs")).readFileSync(path, "utf8");
  } catch (error) {
    const code = (error as { code?: string }).code;
    const reason = code === "ENOENT" ? "no such file or directory" : (error as Error).message;
    throw new ExitError(125, `opening seccomp profile (${path}) failed: open ${path}: ${reason}`);
  }
  try {
    return JSON.stringify(JSON.parse(text));
  } catch (error) {
    throw new ExitError(125, `compacting json for seccomp profile (${path}) failed: ${(error as Error).message}`);
  }
}

const SYSCTLS = new Set(
  ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"].map(
    (name) => `kernel.${name}`,
  ),
);

/** `KEY=VALUE` of --sysctl; only what belongs to a namespace can be set. */
export function parseSysctl(text: string): string {
  const equals = text.indexOf("=");
  const key = text.slice(0, equals);
  if (equals < 0 || !(SYSCTLS.has(key) || key.startsWith("net.") || key.startsWith("fs.mqueue."))) {
    throw new Error(`sysctl '${text}' is not allowed`);
  }
  return text;
}

/** `net_admin` as `CAP_NET_ADMIN`; ALL stays. The engine knows which exist. */
export function parseCapability(text: string): string {
  const name = text.toUpperCase();
  return name === "ALL" || name.startsWith("CAP_") ? name : `CAP_${name}`;
}
