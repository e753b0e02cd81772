import type { Engine } from "../client/engine.ts";
import { type Command, type Context, type Doors, ExitError } from "./command.ts";
import { commands, type Entry, groups } from "./commands.ts";
import { type ConfigFile, configDirectory, readConfig } from "./config-file.ts";
import type { EngineChoice } from "./engine-choice.ts";
import { errorText } from "./error-text.ts";
import { type Flag, FlagError, parseFlags } from "./flags.ts";
import { BrokenPipe, stderr, stdout } from "./output.ts";

export const VERSION = "0.1.0";

export const globalFlags: readonly Flag[] = [
  {
    name: "host",
    short: "H",
    type: "string",
    help: "Engine to talk to: unix://PATH, tcp://HOST:PORT or ssh://USER@HOST",
  },
  { name: "context", short: "c", type: "string", help: "Engine to talk to, by the name of its context" },
  { name: "tls", type: "bool", help: "Use TLS on TCP, and take any certificate of the engine" },
  { name: "tlsverify", type: "bool", help: "Use TLS on TCP, and check the engine's certificate" },
  {
    name: "tlscacert",
    type: "string",
    value: "file",
    help: "Who signs the engine's certificate (default: ~/.docker/ca.pem)",
  },
  { name: "tlscert", type: "string", value: "file", help: "Own certificate (default: ~/.docker/cert.pem)" },
  { name: "tlskey", type: "string", value: "file", help: "Its key (default: ~/.docker/key.pem)" },
  { name: "version", short: "v", type: "bool", help: "Print the version" },
  { name: "debug", short: "D", type: "bool", help: "Print where an error came from" },
  { name: "log-level", short: "l", type: "string", hidden: true, help: "" },
  { name: "config", type: "string", value: "directory", help: "Where config.json is (default: ~/.docker)" },
];

/**
 * The command line: `argv` without the program's own words. Gives the exit status when everything is written; the
 * caller ends the process with it, since a read of stdin may still be pending. `doors` are what it calls into.
 */
export async function main(argv: string[], doors: Doors): Promise<number> {
  let debug = false;
  try {
    const global = parseFlags(globalFlags, argv, false);
    debug = global.options.bool("debug");
    if (global.options.bool("version")) {
      await stdout.line(`inro version ${VERSION}`);
      return 0;
    }
    const directory = configDirectory(global.options.string("config"));
    const config = readConfig(directory);
    const [word, ...rest] = global.args;
    if (word === undefined || word === "help" || global.help) return await help(word === "help" ? rest : [], 0);
    const found = find(word, rest);
    if (!found) return await unknown(word, rest);
    if (found.entry === undefined) return await help([word], 0);
    const { command } = await found.entry.load();
    const choice = new (await import("./engine-choice.ts")).EngineChoice(global.options, await config, directory);
    return await run(command, found.entry, found.name, found.rest, choice, await config, doors);
  } catch (error) {
    return await report(error, argv, debug);
  }
}

interface Found {
  entry?: Entry;
  name: string;
  rest: string[];
}

function find(word: string, rest: string[]): Found | undefined {
  const entry = commands.get(word);
  if (entry) return { entry, name: `inro ${word}`, rest };
  // As docker's plugin has it.
  if (word === "buildx" && rest[0] === "imagetools") return find("imagetools", rest.slice(1));
  const group = groups.get(word);
  if (!group) return undefined;
  const sub = rest[0];
  if (sub === undefined || sub === "--help" || sub === "-h") return { name: `inro ${word}`, rest };
  const below = group.entries.get(sub);
  return below && { entry: below, name: `inro ${word} ${sub}`, rest: rest.slice(1) };
}

async function run(
  command: Command,
  entry: Entry,
  name: string,
  argv: string[],
  choice: EngineChoice,
  config: ConfigFile,
  doors: Doors,
): Promise<number> {
  let parsed: ReturnType<typeof parseFlags>;
  try {
    parsed = parseFlags(command.flags, argv, command.interspersed ?? true);
  } catch (error) {
    if (!(error instanceof FlagError)) throw error;
    await stderr.write(await (await import("./help.ts")).flagErrorText(error, name, command));
    return 125;
  }
  if (parsed.help) {
    await stdout.write((await import("./help.ts")).commandHelp(name, entry, command));
    return 0;
  }
  const { args, options } = parsed;
  for (const flag of command.flags) {
    const value = flag.config && config[flag.config];
    if (value) options.defaults.set(flag.name, value);
  }
  if (args.length < command.args[0] || args.length > command.args[1]) {
    await stderr.write((await import("./help.ts")).argumentErrorText(name, command));
    return 1;
  }
  // Before it is needed, since a context is read from a file; what is wrong with it is said when it is needed.
  let engine: Engine | undefined;
  let failure: unknown;
  try {
    engine = await choice.engine();
  } catch (error) {
    failure = error;
  }
  const context: Context = {
    options,
    args,
    config,
    name,
    command,
    engine: () => {
      if (!engine) throw failure;
      return engine;
    },
    choice,
    doors,
  };
  try {
    return await command.run(context);
  } finally {
    engine?.close();
  }
}

async function help(words: string[], status: number): Promise<number> {
  const { overview, groupHelp, commandHelp } = await import("./help.ts");
  const [word, sub] = words;
  if (word === undefined) {
    await stdout.write(overview());
    return status;
  }
  const found = find(word, sub === undefined ? [] : [sub]);
  if (!found) return unknown(word, sub === undefined ? [] : [sub]);
  const text = found.entry ? commandHelp(found.name, found.entry, (await found.entry.load()).command) : groupHelp(word);
  await stdout.write(text);
  return status;
}

async function unknown(word: string, rest: string[]): Promise<number> {
  const { unknownCommandText } = await import("./help.ts");
  await stderr.write(await unknownCommandText(word, rest[0]));
  return 1;
}

/** Prints an error the way docker does and gives its exit status. */
async function report(error: unknown, argv: string[], debug: boolean): Promise<number> {
  if (error instanceof BrokenPipe) return 141;
  let status = 1;
  let text: string;
  if (error instanceof ExitError) {
    status = error.exitCode;
    text = error.message;
  } else if (error instanceof FlagError) {
    status = 125;
    text = (await (await import("./help.ts")).flagErrorText(error)).trimEnd();
  } else text = errorText(error);
  if (debug && error instanceof Error) text += `\n${error.stack}\n(arguments: ${JSON.stringify(argv)})`;
  if (text) await stderr.line(text).catch(() => {});
  return status;
}
