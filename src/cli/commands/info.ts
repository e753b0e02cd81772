import { toJson } from "../../base/template/functions.ts";
import { compileTemplate } from "../../base/template/template.ts";
import type { Command } from "../command.ts";
import { binarySize } from "../human.ts";
import { formatFlag } from "../inspect.ts";
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
  async run({ options, engine }) {
    const format = options.string("format");
    const print = format === "" || format === "json" ? undefined : compileTemplate(format);
    const info = await engine().info<Info>();
    const data = { ...info, ClientInfo: { Version: VERSION } };
    if (print) await stdout.line(print(data));
    else if (format === "json") await stdout.line(toJson(data));
    else {
      await stdout.write(infoText(info));
      for (const warning of (info.Warnings as string[] | null | undefined) ?? []) await stderr.line(warning);
    }
    return 0;
  },
};

/** Docker's lines, without what the engine does not say. */
export function infoText(info: Info): string {
  const lines = ["Client: inro", ` Version:    ${VERSION}`, "", "Server:"];
  const add = (label: string, value: unknown, indent = " ") => {
    if (value !== undefined && value !== null && value !== "") lines.push(`${indent}${label}: ${value}`);
  };
  const field = (label: string, name: string, indent = " ") => add(label, info[name], indent);
  field("Containers", "Containers");
  field("Running", "ContainersRunning", "  ");
  field("Paused", "ContainersPaused", "  ");
  field("Stopped", "ContainersStopped", "  ");
  field("Images", "Images");
  field("Server Version", "ServerVersion");
  field("Storage Driver", "Driver");
  for (const [name, value] of (info.DriverStatus as [string, string][] | null | undefined) ?? [])
    add(name, value, "  ");
  field("Logging Driver", "LoggingDriver");
  field("Cgroup Driver", "CgroupDriver");
  field("Cgroup Version", "CgroupVersion");
  const runtimes = info.Runtimes as object | undefined;
  if (runtimes) add("Runtimes", Object.keys(runtimes).join(" "));
  field("Default Runtime", "DefaultRuntime");
  field("Init Binary", "InitBinary");
  const security = (info.SecurityOptions as string[] | null | undefined) ?? [];
  if (security.length > 0) lines.push(" Security Options:", ...security.map((option) => `  ${optionName(option)}`));
  field("Kernel Version", "KernelVersion");
  field("Operating System", "OperatingSystem");
  field("OSType", "OSType");
  field("Architecture", "Architecture");
  field("CPUs", "NCPU");
  const memory = info.MemTotal;
  if (typeof memory === "number") add("Total Memory", binarySize(memory));
  field("Name", "Name");
  field("ID", "ID");
  field("Docker Root Dir", "DockerRootDir");
  field("Debug Mode", "Debug");
  field("Experimental", "ExperimentalBuild");
  return `${lines.join("\n")}\n`;
}

function optionName(option: string): string {
  return /name=([^,]+)/.exec(option)?.[1] ?? option;
}
