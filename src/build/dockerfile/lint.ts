import { nearest } from "../../base/nearest.ts";
import type { Arg, Dockerfile, Instruction, Stage, Warning } from "./ast.ts";
import { SyntaxFault } from "./error.ts";
import { Expander } from "./expand.ts";
import { isLegacyPair } from "./instructions.ts";
import type { Line } from "./lines.ts";
import { type Rule, warning } from "./rules.ts";
import { blankSeparated } from "./words.ts";

const SECRET = /(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)/i;
const PUBLIC = /(?:_|^)public(?:_|$)/i;
const RESERVED = ["context", "scratch"];
/** Arguments of the global scope that nobody declares. */
const PLATFORM_ARGS = ["TARGET", "BUILD"].flatMap((side) =>
  ["PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT"].map((name) => side + name),
);

type Report = (rule: Rule, detail: string, place: { line: number; endLine: number }) => void;

/** The build checks that the text alone decides; CopyIgnoredFile and UndefinedVar are told while building. */
export function lint(file: Omit<Dockerfile, "warnings">, lines: readonly Line[]): Warning[] {
  const found: Warning[] = [];
  const report: Report = (rule, detail, place) => {
    const one = warning(rule, detail, place, file.directives.check);
    if (one) found.push(one);
  };
  casing(lines, report);
  for (const line of lines) written(line, report);
  const names = new Set<string>();
  for (const stage of file.stages) {
    from(file, stage, report);
    if (stage.name !== undefined && names.has(stage.name)) {
      report("DuplicateStageName", `Duplicate stage name "${stage.name}", stage names should be unique`, stage.source);
    }
    if (stage.name !== undefined) names.add(stage.name);
    described("build stage", stage.name, stage, report);
    repeated(stage, report);
    workdirs(stage, report);
  }
  const instructions = [...file.globalArgs, ...file.stages.flatMap((stage) => stage.instructions)];
  for (const instruction of instructions) {
    each(instruction, report);
    if (instruction.kind === "arg") described("argument", instruction.args[0]?.name, instruction, report);
  }
  return found.sort((a, b) => a.line - b.line);
}

const isUpper = (word: string) => word === word.toUpperCase();
const isConsistent = (word: string) => isUpper(word) || word === word.toLowerCase();

function casing(lines: readonly Line[], report: Report): void {
  const upper = lines.filter(({ keyword }) => isUpper(keyword)).length;
  const lower = lines.filter(({ keyword }) => keyword === keyword.toLowerCase()).length;
  const majority = upper >= lower ? "uppercase" : "lowercase";
  for (const { keyword, source } of lines) {
    const fits = majority === "uppercase" ? isUpper(keyword) : keyword === keyword.toLowerCase();
    if (fits) continue;
    report(
      "ConsistentInstructionCasing",
      `Command '${keyword}' should match the case of the command majority (${majority})`,
      source,
    );
  }
}

/** What shows in the line as written. */
function written(line: Line, report: Report): void {
  const { keyword, source } = line;
  for (const empty of line.emptyContinuations) {
    report("NoEmptyContinuation", "Empty continuation line", { line: empty, endLine: empty });
  }
  const kind = keyword.toLowerCase();
  if ((kind === "env" || kind === "label") && isLegacyPair(line)) {
    const name = kind.toUpperCase();
    const detail = `"${name} key=value" should be used instead of legacy "${name} key value" format`;
    report("LegacyKeyValueFormat", detail, source);
  }
  if (kind !== "from") return;
  const [, as, name] = blankSeparated(line.rest);
  if (as === undefined || name === undefined) return;
  if (isConsistent(keyword) && isUpper(keyword) !== isUpper(as)) {
    report("FromAsCasing", `'${as}' and '${keyword}' keywords' casing do not match`, source);
  }
  if (name !== name.toLowerCase()) {
    report("StageNameCasing", `Stage name '${name}' should be lowercase`, source);
  }
  if (RESERVED.includes(name.toLowerCase())) {
    report("ReservedStageName", `Stage name should not use the same name as reserved stage "${name}"`, source);
  }
}

function from(file: Omit<Dockerfile, "warnings">, stage: Stage, report: Report): void {
  const { reference, platform } = stage.from;
  if (platform !== undefined) {
    if (/^\$(?:TARGETPLATFORM|\{TARGETPLATFORM\})$/.test(platform)) {
      const detail = `Setting platform to predefined ${platform} in FROM is redundant as this is the default behavior`;
      report("RedundantTargetPlatform", detail, stage.source);
    } else if (!platform.includes("$")) {
      const detail = `FROM --platform flag should not use constant value "${platform}"`;
      report("FromPlatformFlagConstDisallowed", detail, stage.source);
    }
  }
  const values = new Map<string, string | undefined>(PLATFORM_ARGS.map((name) => [name, "x"]));
  const expander = new Expander(file.directives.escape);
  const lookup = (name: string) => values.get(name);
  const expand = (text: string) => {
    try {
      return expander.word(text, lookup);
    } catch (error) {
      // A form that demands a value: the build tells, with the values it has.
      if (error instanceof SyntaxFault) return undefined;
      throw error;
    }
  };
  for (const { args } of file.globalArgs) {
    for (const { name, value } of args) values.set(name, value === undefined ? undefined : expand(value));
  }
  expander.unmatched.clear();
  const image = expand(reference);
  const declared = [...values.keys()];
  if (platform !== undefined) expand(platform);
  for (const name of expander.unmatched) {
    if (values.has(name)) continue;
    const near = nearest(name, declared);
    const detail = `FROM argument '${name}' is not declared${near ? ` (did you mean ${near}?)` : ""}`;
    report("UndefinedArgInFrom", detail, stage.source);
  }
  // `alpine:` and `/x` are what an argument without a default leaves.
  if (image !== undefined && reference.includes("$") && !/^[^:/@](?:.*[^:/@])?$/.test(image)) {
    const detail = `Default value for ARG ${reference} results in empty or invalid base image name`;
    report("InvalidDefaultArgInFrom", detail, stage.source);
  }
}

/** The comment above a stage or argument starts with its name, if it is a description. */
function described(what: string, name: string | undefined, { comment, source }: Stage | Arg, report: Report): void {
  if (name === undefined || comment === undefined) return;
  if (comment.split("\n").some((line) => line.startsWith(`${name} `))) return;
  const format = `\`# <${what === "argument" ? "arg" : "stage"} name> <description>\``;
  report("InvalidDefinitionDescription", `Comment for ${what} should follow the format: ${format}`, source);
}

function repeated(stage: Stage, report: Report): void {
  for (const kind of ["cmd", "entrypoint", "healthcheck"] as const) {
    const same = stage.instructions.filter((instruction) => instruction.kind === kind);
    for (const { source } of same.slice(0, -1)) {
      report(
        "MultipleInstructionsDisallowed",
        `Multiple ${kind.toUpperCase()} instructions should not be used in the same stage because only the last one will be used`,
        source,
      );
    }
  }
}

function workdirs(stage: Stage, report: Report): void {
  for (const instruction of stage.instructions) {
    if (instruction.kind !== "workdir") continue;
    if (/^[/$\\"']/.test(instruction.path)) return;
    const detail = `Relative workdir "${instruction.path}" can have unexpected results if the base image changes`;
    report("WorkdirRelativePath", detail, instruction.source);
  }
}

function each(instruction: Instruction, report: Report): void {
  const { kind, source } = instruction;
  if ((kind === "cmd" || kind === "entrypoint") && instruction.command.form === "shell" && instruction.command.text) {
    const name = kind.toUpperCase();
    const detail = `JSON arguments recommended for ${name} to prevent unintended behavior related to OS signals`;
    report("JSONArgsRecommended", detail, source);
  } else if (kind === "maintainer") {
    report("MaintainerDeprecated", "Maintainer instruction is deprecated in favor of using label", source);
  } else if (kind === "arg" || kind === "env") {
    for (const { name } of kind === "arg" ? instruction.args : instruction.pairs) {
      if (!SECRET.test(name) || PUBLIC.test(name)) continue;
      const detail = `Do not use ARG or ENV instructions for sensitive data (${kind.toUpperCase()} "${name}")`;
      report("SecretsUsedInArgOrEnv", detail, source);
    }
  } else if (kind === "expose") {
    for (const port of instruction.ports) {
      const protocol = port.split("/")[1];
      if (protocol !== undefined && protocol !== protocol.toLowerCase() && !protocol.includes("$")) {
        report("ExposeProtoCasing", `Defined protocol '${port}' in EXPOSE instruction should be lowercase`, source);
      }
      if (port.replace(/\$\{[^}]*\}/g, "").includes(":")) {
        const detail = `EXPOSE instruction should not define an IP address or host-port mapping, found '${port}'`;
        report("ExposeInvalidFormat", detail, source);
      }
    }
  }
}
