import { toJson } from "../../base/template/functions.ts";
import { compileTemplate } from "../../base/template/template.ts";
import { API_VERSION } from "../../spec/docker-api.ts";
import type { Command } from "../command.ts";
import { errorText } from "../error-text.ts";
import { formatFlag } from "../inspect.ts";
import { VERSION } from "../main.ts";
import { stderr, stdout } from "../output.ts";

interface Server {
  Version?: string;
  ApiVersion?: string;
  MinAPIVersion?: string;
  Os?: string;
  Arch?: string;
  KernelVersion?: string;
  BuildTime?: string;
  GitCommit?: string;
  Platform?: { Name?: string };
  Components?: { Name: string; Version: string; Details?: Record<string, string> }[] | null;
}

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [formatFlag],
  examples: [
    ["inro version", "Client and engine"],
    ["inro version -f '{{.Server.Version}}'", "One field"],
  ],
  async run({ options, engine }) {
    const format = options.string("format");
    const print = format === "" || format === "json" ? undefined : compileTemplate(format);
    const architecture = process.arch === "x64" ? "amd64" : process.arch;
    const client = {
      Version: VERSION,
      ApiVersion: API_VERSION,
      DefaultAPIVersion: API_VERSION,
      Os: process.platform,
      Arch: architecture,
      Runtime: `bun ${Bun.version}`,
    };
    let server: Server | null = null;
    let failure: unknown;
    try {
      server = await engine().version<Server>();
    } catch (error) {
      failure = error;
    }
    const data = { Client: client, Server: server };
    if (print) await stdout.line(print(data));
    else if (format === "json") await stdout.line(toJson(data));
    else {
      const lines = [
        "Client: inro",
        ...fields([
          ["Version", client.Version],
          ["API version", client.ApiVersion],
          ["Runtime", client.Runtime],
          ["OS/Arch", `${client.Os}/${client.Arch}`],
        ]),
      ];
      if (server) lines.push("", ...serverLines(server));
      await stdout.line(lines.join("\n"));
    }
    if (!failure) return 0;
    await stderr.line(errorText(failure));
    return 1;
  },
};

function serverLines(server: Server): string[] {
  const platform = server.Platform?.Name;
  const lines = [
    platform ? `Server: ${platform}` : "Server:",
    ...fields([
      ["Version", server.Version],
      ["API version", `${server.ApiVersion} (minimum version ${server.MinAPIVersion})`],
      ["Kernel", server.KernelVersion],
      ["Built", server.BuildTime],
      ["OS/Arch", `${server.Os}/${server.Arch}`],
    ]),
  ];
  for (const { Name, Version } of server.Components ?? []) {
    if (Name !== "Engine") lines.push(` ${Name}:`, ...fields([["Version", Version]], "  "));
  }
  return lines;
}

function fields(pairs: readonly (readonly [string, string | undefined])[], indent = " "): string[] {
  return pairs.filter(([, value]) => value).map(([name, value]) => `${indent}${`${name}:`.padEnd(18)}${value}`);
}
