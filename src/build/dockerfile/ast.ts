/** Where something stands in a Dockerfile: 1-based lines and column. */
export interface Source {
  /** As written: continuations, comments in them and heredocs included. */
  readonly text: string;
  /** On one line, without heredoc bodies: what progress, errors and history show. */
  readonly code: string;
  readonly line: number;
  readonly endLine: number;
  readonly column: number;
}

/** A here-document of RUN, COPY or ADD. `content` has its leading tabs removed when it was `<<-`. */
export interface Heredoc {
  /** The delimiter without quotes: the file name that COPY and ADD give it. */
  readonly name: string;
  readonly content: string;
  /** False when the delimiter was quoted: variables stay as written. */
  readonly expand: boolean;
  /** File descriptor it is meant for: 0, or the number before `<<`. */
  readonly fd: number;
  /** `<<-`. */
  readonly chomp: boolean;
}

/** What RUN, CMD, ENTRYPOINT and HEALTHCHECK CMD run: a string for the shell of SHELL, or an argument vector. */
export type Command =
  | { readonly form: "shell"; readonly text: string }
  | { readonly form: "exec"; readonly args: readonly string[] };

export interface Pair {
  readonly name: string;
  readonly value: string;
}

/** `value` is undefined for `ARG name` without a default. */
export interface ArgPair {
  readonly name: string;
  readonly value?: string;
}

interface Base<K extends string> {
  readonly kind: K;
  readonly source: Source;
  /** Comment lines right above the instruction, without `#`. */
  readonly comment?: string;
}

/** Flags and words that COPY and ADD have in common. Words are unexpanded. */
interface Files {
  readonly sources: readonly string[];
  readonly heredocs: readonly Heredoc[];
  readonly destination: string;
  readonly chown?: string;
  readonly chmod?: string;
  readonly link: boolean;
  readonly excludes: readonly string[];
}

export interface Add extends Base<"add">, Files {
  readonly checksum?: string;
  readonly keepGitDir?: boolean;
  readonly unpack?: boolean;
}
export interface Copy extends Base<"copy">, Files {
  readonly from?: string;
  readonly parents: boolean;
}
export interface Run extends Base<"run"> {
  readonly command: Command;
  /** Bodies that the command names. When the command is only `<<NAME`, the first body is the script. */
  readonly heredocs: readonly Heredoc[];
  /** Values of `--mount` as written: `parseMount` of mounts.ts reads them, with the variables of the moment. */
  readonly mounts: readonly string[];
  readonly network: "default" | "none" | "host";
  readonly security: "sandbox" | "insecure";
  readonly devices: readonly { readonly name: string; readonly required: boolean }[];
}
export interface Arg extends Base<"arg"> {
  readonly args: readonly ArgPair[];
}
export interface Env extends Base<"env"> {
  readonly pairs: readonly Pair[];
}
export interface Label extends Base<"label"> {
  readonly pairs: readonly Pair[];
}
export interface Cmd extends Base<"cmd"> {
  readonly command: Command;
}
export interface Entrypoint extends Base<"entrypoint"> {
  readonly command: Command;
}
export interface Healthcheck extends Base<"healthcheck"> {
  /** `NONE` switches the check of the base image off. Durations in nanoseconds; absent means the engine's default. */
  readonly test: "NONE" | Command;
  readonly interval?: number;
  readonly timeout?: number;
  readonly startPeriod?: number;
  readonly startInterval?: number;
  readonly retries?: number;
}
export interface Expose extends Base<"expose"> {
  readonly ports: readonly string[];
}
export interface Volume extends Base<"volume"> {
  readonly paths: readonly string[];
}
export interface Shell extends Base<"shell"> {
  readonly shell: readonly string[];
}
export interface Onbuild extends Base<"onbuild"> {
  /** The trigger as written, heredocs included: what config.OnBuild keeps; `parseInstruction` reads it. */
  readonly trigger: string;
}
export interface User extends Base<"user"> {
  readonly user: string;
}
export interface Workdir extends Base<"workdir"> {
  readonly path: string;
}
export interface Stopsignal extends Base<"stopsignal"> {
  readonly signal: string;
}
export interface Maintainer extends Base<"maintainer"> {
  readonly maintainer: string;
}

export type Instruction =
  | Add
  | Arg
  | Cmd
  | Copy
  | Entrypoint
  | Env
  | Expose
  | Healthcheck
  | Label
  | Maintainer
  | Onbuild
  | Run
  | Shell
  | Stopsignal
  | User
  | Volume
  | Workdir;

/** From FROM to the next FROM. `reference` and `platform` are unexpanded; `name` is lower case. */
export interface Stage {
  readonly index: number;
  readonly name?: string;
  readonly from: { readonly reference: string; readonly platform?: string };
  readonly instructions: readonly Instruction[];
  readonly source: Source;
  readonly comment?: string;
}

/** A build check that a Dockerfile does not pass (docs.docker.com/reference/build-checks). */
export interface Warning {
  readonly rule: string;
  readonly description: string;
  readonly detail: string;
  readonly url: string;
  readonly line: number;
  readonly endLine: number;
}

/** The `check` directive: which rules are skipped, and whether a warning fails the build. */
export interface CheckOptions {
  readonly skip: readonly string[];
  readonly skipAll: boolean;
  readonly error: boolean;
  readonly experimental: readonly string[];
  readonly experimentalAll: boolean;
}

export interface Directives {
  readonly syntax?: string;
  readonly escape: "\\" | "`";
  readonly check?: CheckOptions;
}

export interface Dockerfile {
  readonly directives: Directives;
  /** ARGs before the first FROM. */
  readonly globalArgs: readonly Arg[];
  readonly stages: readonly Stage[];
  readonly warnings: readonly Warning[];
}
