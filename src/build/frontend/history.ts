import type { ImageConfig } from "../../spec/oci-image.ts";
import type { Add, Copy, Instruction } from "../dockerfile/ast.ts";

/** What `created_by` says of an instruction whose words are expanded, in BuildKit's form. */
export function createdBy(instruction: Instruction, config: NonNullable<ImageConfig["config"]>): string {
  switch (instruction.kind) {
    case "cmd":
      return `CMD ${list(config.Cmd ?? [])}`;
    case "entrypoint":
      return `ENTRYPOINT ${list(config.Entrypoint ?? [])}`;
    case "env":
    case "label": {
      const pairs = instruction.pairs.map(({ name, value }) => `${name}=${value}`);
      return `${instruction.kind.toUpperCase()} ${pairs.join(" ")}`;
    }
    case "arg": {
      const pairs = instruction.args.map(({ name, value }) => (value === undefined ? name : `${name}=${value}`));
      return `ARG ${pairs.join(" ")}`;
    }
    case "expose":
      return `EXPOSE [${instruction.ports.map((port) => (port.includes("/") ? port : `${port}/tcp`)).join(" ")}]`;
    case "volume":
      return `VOLUME [${instruction.paths.join(" ")}]`;
    case "shell":
      return `SHELL [${instruction.shell.join(" ")}]`;
    case "user":
      return `USER ${instruction.user}`;
    case "workdir":
      return `WORKDIR ${config.WorkingDir}`;
    case "stopsignal":
      return `STOPSIGNAL ${instruction.signal}`;
    case "onbuild":
      return `ONBUILD ${instruction.trigger}`;
    case "maintainer":
      return `MAINTAINER ${instruction.maintainer}`;
    case "healthcheck":
      return `HEALTHCHECK ${health((config.Healthcheck ?? {}) as Record<string, unknown>)}`;
    case "copy":
    case "add":
      return copied(instruction);
    case "run":
      return instruction.source.code;
  }
}

/** RUN: the arguments that were declared, and what was run. */
export function ranBy(args: readonly string[], declared: ReadonlyMap<string, string>): string {
  const values = [...declared].map(([name, value]) => `${name}=${value}`);
  const prefix = values.length > 0 ? [`|${values.length}`, ...values] : [];
  return `RUN ${[...prefix, ...args].join(" ")} # buildkit`;
}

function copied(instruction: Copy | Add): string {
  const flags = [
    instruction.chown && `--chown=${instruction.chown}`,
    instruction.chmod && `--chmod=${instruction.chmod}`,
    instruction.link && "--link",
  ].filter(Boolean);
  const sources = [...instruction.sources, ...instruction.heredocs.map(({ name }) => `<<${name}`)];
  return `${[instruction.kind.toUpperCase(), ...flags, ...sources, instruction.destination].join(" ")} # buildkit`;
}

/** Go's %q of a list of texts. */
const list = (words: readonly string[]) => `[${words.map((word) => JSON.stringify(word)).join(" ")}]`;

function health({ Test, Interval, Timeout, StartPeriod, StartInterval, Retries }: Record<string, unknown>): string {
  const times = [Interval, Timeout, StartPeriod, StartInterval].map((time) => `"${duration(Number(time ?? 0))}"`);
  const retries = `'\\x${Number(Retries ?? 0)
    .toString(16)
    .padStart(2, "0")}'`;
  return `&{${list(Test as string[])} ${times.join(" ")} ${retries}}`;
}

/** Go's text of a duration in nanoseconds. */
function duration(nanoseconds: number): string {
  if (nanoseconds === 0) return "0s";
  if (nanoseconds < 1e9) return `${nanoseconds / 1e6}ms`;
  const seconds = nanoseconds / 1e9;
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60), seconds % 60];
  return `${h > 0 ? `${h}h` : ""}${h > 0 || m > 0 ? `${m}m` : ""}${s}s`;
}
