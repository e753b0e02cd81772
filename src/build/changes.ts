import { invalid } from "../base/errors.ts";
import type { ImageConfig } from "../spec/oci-image.ts";
import type { Command, Healthcheck, Instruction, Pair } from "./dockerfile/ast.ts";
import { Expander } from "./dockerfile/expand.ts";
import { parseInstruction } from "./dockerfile/parse.ts";

type Defaults = NonNullable<ImageConfig["config"]>;

const ALLOWED = "CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD SHELL STOPSIGNAL USER VOLUME WORKDIR".split(" ");

/**
 * Applies `--change` instructions (of import and commit: Dockerfile's CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL
 * ONBUILD SHELL STOPSIGNAL USER VOLUME WORKDIR) to the `config` of an image. Answers a new one; errors are invalid.
 */
export function applyChanges(config: Defaults, changes: string[]): Defaults {
  const result = structuredClone(config);
  const seen = new Set<Instruction["kind"]>();
  for (const change of changes) {
    const word = /^\s*(\S*)/.exec(change)![1]!.toUpperCase();
    if (!ALLOWED.includes(word)) throw invalid(`${word.slice(0, 100)} is not a valid change command`);
    const instruction = parseInstruction(change);
    if (instruction.kind === "env" || instruction.kind === "label") {
      applyInstruction(result, { ...instruction, pairs: expanded(instruction.pairs, result.Env ?? []) });
    } else applyInstruction(result, instruction);
    seen.add(instruction.kind);
  }
  // The old command was meant for the old entrypoint.
  if (seen.has("entrypoint") && !seen.has("cmd")) delete result.Cmd;
  return result;
}

/** Applies one instruction whose words are expanded to `config`. One that is not about the config changes nothing. */
export function applyInstruction(config: Defaults, change: Instruction): void {
  switch (change.kind) {
    case "cmd":
      config.Cmd = argv(config, change.command);
      break;
    case "entrypoint":
      config.Entrypoint = argv(config, change.command);
      break;
    case "env":
      for (const { name, value } of change.pairs) setEnv(config, name, value);
      break;
    case "expose":
      expose(config, change.ports);
      break;
    case "healthcheck":
      config.Healthcheck = healthcheck(change);
      break;
    case "label":
      config.Labels = { ...config.Labels, ...Object.fromEntries(change.pairs.map(({ name, value }) => [name, value])) };
      break;
    case "onbuild":
      config.OnBuild = [...(config.OnBuild ?? []), change.trigger];
      break;
    case "shell":
      config.Shell = [...change.shell];
      break;
    case "stopsignal":
      config.StopSignal = change.signal;
      break;
    case "user":
      config.User = change.user;
      break;
    case "volume":
      config.Volumes = { ...config.Volumes, ...Object.fromEntries(change.paths.map((path) => [path, {}])) };
      break;
    case "workdir":
      config.WorkingDir = workdir(config.WorkingDir, change.path);
  }
}

/** What a command runs: of the shell form, with the config's shell. */
export function argv({ Shell }: Defaults, command: Command): string[] {
  if (command.form === "exec") return [...command.args];
  if (command.text === "") throw invalid("a command requires at least one argument");
  return [...(Shell?.length ? Shell : ["/bin/sh", "-c"]), command.text];
}

/** Without quotes, and with the variables of the image. One that it does not have stays as it is written. */
function expanded(pairs: readonly Pair[], env: readonly string[]): Pair[] {
  const variables = new Map(env.map((entry) => entry.split(/=(.*)/s, 2) as [string, string]));
  const expander = new Expander("\\", { keepUnset: true });
  const word = (text: string) => expander.word(text, (name) => variables.get(name));
  return pairs.map(({ name, value }) => ({ name: word(name), value: word(value) }));
}

function setEnv(config: Defaults, name: string, value: string): void {
  const entries = config.Env ?? [];
  const at = entries.findIndex((entry) => entry.startsWith(`${name}=`));
  const others = entries.filter((entry) => !entry.startsWith(`${name}=`));
  config.Env = others.toSpliced(at < 0 ? others.length : at, 0, `${name}=${value}`);
}

function expose(config: Defaults, ports: readonly string[]): void {
  for (const port of ports) {
    const [, number, last, protocol = "tcp"] = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(port) ?? [];
    const to = Number(last ?? number);
    if (number === undefined || to > 65535 || Number(number) > to) throw invalid(`invalid containerPort: ${port}`);
    config.ExposedPorts ??= {};
    for (let at = Number(number); at <= to; at++) config.ExposedPorts[`${at}/${protocol.toLowerCase()}`] = {};
  }
}

/** An absolute path without `.` and `..`, relative to the directory before. */
export function workdir(before: string | undefined, path: string): string {
  const parts: string[] = [];
  for (const part of (path.startsWith("/") ? path : `${before || "/"}/${path}`).split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

function healthcheck({ test, interval, timeout, startPeriod, startInterval, retries }: Healthcheck): object {
  if (test === "NONE") return { Test: ["NONE"] };
  const times = {
    Interval: interval,
    Timeout: timeout,
    StartPeriod: startPeriod,
    StartInterval: startInterval,
    Retries: retries,
  };
  return {
    Test: test.form === "exec" ? ["CMD", ...test.args] : ["CMD-SHELL", test.text],
    ...Object.fromEntries(Object.entries(times).filter(([, value]) => value !== undefined)),
  };
}
