import { nearest } from "../../base/nearest.ts";
import type { Command, Heredoc, Run } from "./ast.ts";
import { quoted, SyntaxFault } from "./error.ts";
import { readFlags } from "./flags.ts";
import { heredocMark } from "./heredoc.ts";
import type { Line } from "./lines.ts";
import { parseMount } from "./mounts.ts";
import { jsonStrings } from "./words.ts";

const NETWORKS = ["default", "none", "host"] as const;
const SECURITY = ["sandbox", "insecure"] as const;

/** Exec form when `text` is a JSON array of strings, else shell form. */
export function commandOf(text: string): Command {
  const args = jsonStrings(text);
  return args ? { form: "exec", args } : { form: "shell", text };
}

/** RUN. Errors: SyntaxFault; of mounts that hold variables only what can be told without their values. */
export function parseRun(line: Line): Omit<Run, "source" | "comment"> {
  const flags = readFlags(line.flags, { mount: "strings", network: "string", security: "string", device: "strings" });
  if (line.rest === "") throw new SyntaxFault("RUN requires at least one argument");
  const mounts = flags.strings("mount");
  for (const mount of mounts) {
    if (mount.includes("$")) checkFrom(mount);
    else parseMount(mount, (text) => text);
  }
  const network = choice(NETWORKS, flags.string("network"), "network mode");
  const security = choice(SECURITY, flags.string("security"), "security");
  return {
    kind: "run",
    command: commandOf(line.rest),
    heredocs: line.heredocs,
    mounts,
    network: network ?? "default",
    security: security ?? "sandbox",
    devices: flags.strings("device").map(device),
  };
}

/**
 * What a RUN of the shell form with heredocs runs: the one body as a program of its own when it starts with `#!`, else
 * a text for the shell. undefined for a RUN without heredocs.
 */
export function heredocProgram({ command, heredocs }: Run): { script: Heredoc } | { text: string } | undefined {
  const [first] = heredocs;
  if (command.form === "exec" || !first) return undefined;
  if (heredocs.length === 1 && heredocMark(command.text)) {
    return first.content.startsWith("#!") ? { script: first } : { text: first.content };
  }
  return { text: [command.text, ...heredocs.map(({ name, content }) => `${content}${name}`)].join("\n") };
}

function checkFrom(mount: string): void {
  const from = /(?:^|,)from=([^,]*)/i.exec(mount)?.[1];
  if (from && /\$./.test(from)) {
    throw new SyntaxFault("'from' doesn't support variable expansion, define alias stage instead", `from=${from}`);
  }
}

function choice<T extends string>(known: readonly T[], value: string | undefined, what: string): T | undefined {
  const found = known.find((entry) => entry === value);
  if (value !== undefined && found === undefined) {
    throw new SyntaxFault(
      `invalid ${what} ${quoted(value)}: ${known.join(", ")} are known`,
      value,
      nearest(value, known),
    );
  }
  return found;
}

function device(value: string): { name: string; required: boolean } {
  let name = "";
  let required = false;
  for (const field of value.split(",")) {
    const [key, word] = [field.split("=", 1)[0]!, field.slice(field.indexOf("=") + 1)];
    if (key === "required" && (field === "required" || /^(true|false)$/.test(word))) required = word !== "false";
    else if ((key === "name" || !field.includes("=")) && name === "") name = word;
    else if (field.includes("=") && key !== "required" && name === "") name = field;
    else throw new SyntaxFault(`invalid field '${field.slice(0, 100)}' of a device`, field);
  }
  if (name === "") throw new SyntaxFault("a device requires a name", value);
  return { name, required };
}
