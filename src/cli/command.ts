import type { Engine } from "../client/engine.ts";
import type { ConfigFile } from "./config-file.ts";
import type { EngineChoice } from "./engine-choice.ts";
import type { Completes, Flag, Options } from "./flags.ts";

/** What the program's main module lends to the command line. */
export interface Doors {
  /** Runs the engine until it ends. */
  serve(options: ServeOptions): Promise<void>;
  /** Runs a registry until a signal, or collects the garbage of one; the exit status. */
  registry(options: RegistryServe | RegistryCollect): Promise<number>;
}

export interface RegistryServe {
  kind: "serve";
  /** `address:port` */
  listen: string;
  /** Absent: the user's usual directory. */
  data: string | undefined;
  htpasswd: string | undefined;
  tlsCert: string | undefined;
  tlsKey: string | undefined;
  readOnly: boolean;
}

export interface RegistryCollect {
  kind: "gc";
  data: string | undefined;
  /** Also manifests without a tag. */
  untagged: boolean;
  dryRun: boolean;
}

export interface ServeOptions {
  /** The engine's settings that stand on the command line, by their names in its configuration file. */
  settings: Record<string, unknown>;
  /** That file, where it is not in its usual place. */
  configFile?: string;
  /** Only checks the settings. */
  validate?: boolean;
  /** Seconds without a client and without a container after which the engine leaves; absent: never. */
  idleTimeout?: number;
  /** To be called once, when all hosts accept connections: the command that started this engine waits for it. */
  ready(): void;
}

/** One command: the table that drives parsing, help and completion, and what it does. */
export interface Command {
  /** After the name: `[OPTIONS] IMAGE [COMMAND] [ARG...]`; a second form stands on a line of its own. */
  usage: string;
  /** Further paragraphs of the help. */
  description?: string;
  flags: readonly Flag[];
  /** Fewest and most arguments. */
  args: readonly [number, number];
  /** False: the first argument ends the options, as in `run IMAGE COMMAND --its-own-flag`. */
  interspersed?: boolean;
  /** What an argument names, for completion. */
  completes?: Completes;
  examples?: readonly (readonly [command: string, what: string])[];
  /** Gives the exit status. */
  run(context: Context): Promise<number>;
}

export interface Context {
  options: Options;
  args: string[];
  config: ConfigFile;
  /** `inro container run`: as the user called it. */
  name: string;
  command: Command;
  /** The engine that flags, environment and contexts choose. */
  engine(): Engine;
  /** How it was chosen. */
  choice: EngineChoice;
  doors: Doors;
}

/** A failure with its own exit status; an empty message prints nothing. */
export class ExitError extends Error {
  constructor(
    readonly exitCode: number,
    message: string,
  ) {
    super(message);
  }
}

/** A start that failed; its status is docker's 125, 126 or 127. */
export class StartError extends Error {
  constructor(
    message: string,
    readonly exitCode: number,
  ) {
    super(message);
  }
}
