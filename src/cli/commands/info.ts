import { toJson } from "../../base/template/functions.ts";
import type { Command } from "../command.ts";
import { binarySize } from "../human.ts";
import { formatFlag, objectPrinter, printObject } from "../inspect.ts";
import { VERSION } from "../main.ts";
import { stderr, stdout } from "../output.ts";

type Info = Record<string, unknown>;

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [formatFlag],
  examples: [
    ["inro info", "All about the engine"],
    ["inro info -f '{{.CgroupVersion}}'", "One field"],
  ],
  async run({ options, engine, choice }) {
    const format = options.string("format");
    const print = format === "" || format === "json" ? undefined : objectPrinter(format);
    const info = await engine().info<Info>();
    const data = { ...info, ClientInfo: { Version: VERSION, Context: choice.context, Debug: false, Plugins: [] } };
    if (print) await printObject(data, print);
    else if (format === "json") await stdout.line(toJson(data));
    else {
      await stdout.write(infoText(info, choice.context));
      for (const warning of (info.Warnings as string[] | null | undefined) ?? []) await stderr.line(warning);
    }
    return 0;
  },
};

/** Docker's lines, without what the engine does not say. */
export function infoText(info: Info, context: string): string {
  const lines: string[] = [];
  const add = (label: string, value: unknown, indent = " ") => {
    if (value !== undefined && value !== null && value !== "") lines.push(`${indent}${label}: ${value}`);
  };
  const rows = (fields: readonly (readonly [label: string, name: string])[], indent = " ") => {
    for (const [label, name] of fields) add(label, info[name], indent);
  };
  const block = (label: string, values: unknown) => {
    const list = (values as string[] | null | undefined) ?? [];
    if (list.length > 0) lines.push(` ${label}:`, ...list.map((value) => `  ${value}`));
  };
  rows([
    ["Containers", "Containers"],
    [" Running", "ContainersRunning"],
    [" Paused", "ContainersPaused"],
    [" Stopped", "ContainersStopped"],
    ["Images", "Images"],
    ["Server Version", "ServerVersion"],
    ["Storage Driver", "Driver"],
  ]);
  for (const [name, value] of (info.DriverStatus as [string, string][] | null) ?? []) add(name, value, "  ");
  rows([
    ["Logging Driver", "LoggingDriver"],
    ["Cgroup Driver", "CgroupDriver"],
    ["Cgroup Version", "CgroupVersion"],
  ]);
  const plugins = info.Plugins as Record<string, string[] | null> | undefined;
  if (plugins) lines.push(" Plugins:");
  for (const kind of ["Volume", "Network", "Authorization", "Log"]) {
    if (plugins?.[kind]?.length) add(kind, plugins[kind].join(" "), "  ");
  }
  block("CDI spec directories", info.CDISpecDirs);
  add("Swarm", (info.Swarm as { LocalNodeState?: string } | undefined)?.LocalNodeState);
  if (info.Runtimes) add("Runtimes", Object.keys(info.Runtimes).toSorted().join(" "));
  rows([
    ["Default Runtime", "DefaultRuntime"],
    ["Init Binary", "InitBinary"],
  ]);
  for (const part of ["containerd", "runc", "init"]) {
    const commit = info[`${part[0]!.toUpperCase()}${part.slice(1)}Commit`] as { ID?: string } | undefined;
    add(`${part} version`, commit?.ID);
  }
  block("Security Options", ((info.SecurityOptions as string[] | null) ?? []).flatMap(securityLines));
  rows([
    ["Kernel Version", "KernelVersion"],
    ["Operating System", "OperatingSystem"],
    ["OSType", "OSType"],
    ["Architecture", "Architecture"],
    ["CPUs", "NCPU"],
  ]);
  if (typeof info.MemTotal === "number") add("Total Memory", binarySize(info.MemTotal));
  rows([
    ["Name", "Name"],
    ["ID", "ID"],
    ["Docker Root Dir", "DockerRootDir"],
    ["Debug Mode", "Debug"],
    ["HTTP Proxy", "HttpProxy"],
    ["HTTPS Proxy", "HttpsProxy"],
    ["No Proxy", "NoProxy"],
  ]);
  block("Labels", info.Labels);
  add("Experimental", info.ExperimentalBuild);
  const registries = info.RegistryConfig as { InsecureRegistryCIDRs?: string[]; Mirrors?: string[] } | null | undefined;
  block("Insecure Registries", registries?.InsecureRegistryCIDRs);
  block("Registry Mirrors", registries?.Mirrors);
  add("Live Restore Enabled", info.LiveRestoreEnabled);
  const client = ["Client: inro", ` Version:    ${VERSION}`, ` Context:    ${context}`, " Debug Mode: false"];
  return `${[...client, "", "Server:", ...lines].join("\n")}\n\n`;
}

/** `name=seccomp,profile=default` as `seccomp` and below it `Profile: default`. */
function securityLines(option: string): string[] {
  const [name = "", ...rest] = option.split(",").map((pair) => pair.split("=") as [string, string?]);
  const words = rest.map(([key, value = ""]) => ` ${key[0]?.toUpperCase() ?? ""}${key.slice(1)}: ${value}`);
  return [typeof name === "string" ? name : (name[1] ?? name[0]), ...words];
}
