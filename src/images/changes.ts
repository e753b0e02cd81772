import { invalid } from "../base/errors.ts";
import type { ImageConfig } from "../spec/oci-image.ts";

type Defaults = NonNullable<ImageConfig["config"]>;

/**
 * Applies `--change` instructions (of import and commit: Dockerfile's CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL
 * ONBUILD SHELL STOPSIGNAL USER VOLUME WORKDIR) to the `config` of an image. Answers a new one; errors are invalid.
 */
export function applyChanges(config: Defaults, changes: string[]): Defaults {
  const result = structuredClone(config);
  const seen = new Set<string>();
  for (const change of changes) {
    if (change.includes("\0")) throw invalid("invalid change: holds a NUL");
    const [, instruction, rest] = /^\s*([A-Za-z]+)(?:\s+(.*))?$/s.exec(change) ?? [];
    const apply = APPLY[instruction?.toUpperCase() ?? ""];
    if (!apply) throw invalid(`${(instruction ?? change).slice(0, 100).toUpperCase()} is not a valid change command`);
    const text = rest?.trim() ?? "";
    if (text === "") throw invalid(`${instruction!.toUpperCase()} requires at least one argument`);
    apply(result, text);
    seen.add(instruction!.toUpperCase());
  }
  // The old command was meant for the old entrypoint.
  if (seen.has("ENTRYPOINT") && !seen.has("CMD")) delete result.Cmd;
  return result;
}

const APPLY: Record<string, (config: Defaults, text: string) => void> = {
  CMD: (config, text) => {
    config.Cmd = commandOf(config, text);
  },
  ENTRYPOINT: (config, text) => {
    config.Entrypoint = commandOf(config, text);
  },
  ENV: (config, text) => {
    for (const [name, value] of pairs(text, "ENV")) {
      const others = (config.Env ?? []).filter((entry) => !entry.startsWith(`${name}=`));
      const at = (config.Env ?? []).findIndex((entry) => entry.startsWith(`${name}=`));
      config.Env = at < 0 ? [...others, `${name}=${value}`] : others.toSpliced(at, 0, `${name}=${value}`);
    }
  },
  EXPOSE: (config, text) => {
    for (const port of text.split(/\s+/)) {
      const [, number, last, protocol = "tcp"] = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(port) ?? [];
      const to = Number(last ?? number);
      if (number === undefined || to > 65535 || Number(number) > to) throw invalid(`invalid containerPort: ${port}`);
      config.ExposedPorts ??= {};
      for (let at = Number(number); at <= to; at++) config.ExposedPorts[`${at}/${protocol.toLowerCase()}`] = {};
    }
  },
  HEALTHCHECK: (config, text) => {
    config.Healthcheck = healthcheck(text);
  },
  LABEL: (config, text) => {
    config.Labels = { ...config.Labels, ...Object.fromEntries(pairs(text, "LABEL")) };
  },
  ONBUILD: (config, text) => {
    config.OnBuild = [...(config.OnBuild ?? []), text];
  },
  SHELL: (config, text) => {
    const shell = jsonList(text);
    if (!shell?.length) throw invalid("SHELL requires the arguments to be in JSON form");
    config.Shell = shell;
  },
  STOPSIGNAL: (config, text) => {
    config.StopSignal = text;
  },
  USER: (config, text) => {
    config.User = text;
  },
  VOLUME: (config, text) => {
    const paths = jsonList(text) ?? text.split(/\s+/);
    config.Volumes = { ...config.Volumes, ...Object.fromEntries(paths.map((path) => [path, {}])) };
  },
  WORKDIR: (config, text) => {
    const base = text.startsWith("/") ? "/" : `${config.WorkingDir || "/"}/`;
    const parts: string[] = [];
    for (const part of `${base}${text}`.split("/")) {
      if (part === "..") parts.pop();
      else if (part !== "" && part !== ".") parts.push(part);
    }
    config.WorkingDir = `/${parts.join("/")}`;
  },
};

/** JSON form, or the shell form. */
function commandOf({ Shell }: Defaults, text: string): string[] {
  return jsonList(text) ?? [...(Shell?.length ? Shell : ["/bin/sh", "-c"]), text];
}

function jsonList(text: string): string[] | undefined {
  if (!text.startsWith("[")) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  } catch {}
  return undefined;
}

/** `a=b c="d e"`, or `name the rest` for one pair. */
function pairs(text: string, instruction: string): [string, string][] {
  const words = split(text);
  if (!words[0]!.includes("=")) {
    const [, name, value] = /^(\S+)\s+(.*)$/s.exec(text) ?? [];
    if (name === undefined) throw invalid(`${instruction} must have two arguments`);
    return [[name, unquote(value!)]];
  }
  return words.map((word) => {
    const at = word.indexOf("=");
    if (at < 1) throw invalid(`${instruction} names can not be blank: syntax is name=value`);
    return [unquote(word.slice(0, at)), unquote(word.slice(at + 1))];
  });
}

/** Words, where quotes and backslashes keep blanks. */
function split(text: string): string[] {
  return text.match(/(?:"(?:[^"\\]|\\.)*"|'[^']*'|\\.|[^\s"'\\])+|["'\\]/gs) ?? [];
}

function unquote(text: string): string {
  return text.replace(
    /"((?:[^"\\]|\\.)*)"|'([^']*)'|\\(.)/gs,
    (_, double?: string, single?: string, escaped?: string) =>
      double !== undefined ? double.replace(/\\(["\\$`])/g, "$1") : (single ?? escaped ?? ""),
  );
}

const UNITS: Record<string, number> = { ns: 1, us: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

function healthcheck(text: string): object {
  const check: Record<string, unknown> = {};
  let rest = text;
  for (let flag = FLAG.exec(rest); flag; flag = FLAG.exec(rest)) {
    const [all, name, value] = flag as unknown as [string, string, string];
    rest = rest.slice(all.length);
    if (name === "retries" && /^\d{1,6}$/.test(value)) check.Retries = Number(value);
    else if (Object.hasOwn(DURATIONS, name)) check[DURATIONS[name]!] = duration(value);
    else throw invalid(`unknown flag: ${name}`);
  }
  if (/^none$/i.test(rest.trim())) return { Test: ["NONE"] };
  const command = /^cmd\s+(.+)$/is.exec(rest.trim())?.[1];
  if (command === undefined) throw invalid("unknown type in HEALTHCHECK (try CMD)");
  const list = jsonList(command);
  return { Test: list ? ["CMD", ...list] : ["CMD-SHELL", command], ...check };
}

const FLAG = /^\s*--([a-z-]+)=(\S+)/;
const DURATIONS: Record<string, string> = {
  interval: "Interval",
  timeout: "Timeout",
  "start-period": "StartPeriod",
  "start-interval": "StartInterval",
};

function duration(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map((part) => part[0]).join("") !== text) {
    throw invalid(`time: invalid duration ${JSON.stringify(text.slice(0, 100))}`);
  }
  return Math.round(parts.reduce((sum, [, number, unit]) => sum + Number(number) * UNITS[unit!]!, 0));
}
