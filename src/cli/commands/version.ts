import { toJson } from "../../base/template/functions.ts";
import { API_VERSION } from "../../spec/docker-api.ts";
import type { Command } from "../command.ts";
import { errorText } from "../error-text.ts";
import { formatFlag, objectPrinter, printObject } from "../inspect.ts";
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
  async run({ options, engine, choice }) {
    const format = options.string("format");
    const print = format === "" || format === "json" ? undefined : objectPrinter(format);
    let server: Server | null = null;
    let failure: unknown;
    try {
      server = withGoNames(await engine().version<Server>());
    } catch (error) {
      failure = error;
    }
    const data = { Client: client(choice.context), Server: server };
    if (print) await printObject(data, print);
    else if (format === "json") await stdout.line(toJson(data));
    else await stdout.write(server ? `${clientText(data.Client)}\n${serverText(server)}` : clientText(data.Client));
    if (!failure) return 0;
    await stderr.line(errorText(failure));
    return 1;
  },
};

function client(context: string) {
  return withGoNames({
    Version: VERSION,
    ApiVersion: process.env.DOCKER_API_VERSION || API_VERSION,
    DefaultAPIVersion: API_VERSION,
    Os: process.platform,
    Arch: process.arch === "x64" ? "amd64" : process.arch,
    Runtime: `bun ${Bun.version}`,
    Context: context,
  });
}

/** Templates have the names of Go's struct, JSON those of the API. */
function withGoNames<T extends { ApiVersion?: string }>(object: T): T {
  return Object.defineProperty(object, "APIVersion", { value: object.ApiVersion, enumerable: false });
}

function clientText(info: ReturnType<typeof client>): string {
  return `Client: inro\n${fields(" ", [
    ["Version", info.Version],
    ["API version", info.ApiVersion],
    ["Runtime", info.Runtime],
    ["OS/Arch", `${info.Os}/${info.Arch}`],
    ["Context", info.Context],
  ])}`;
}

function serverText(server: Server): string {
  const platform = server.Platform?.Name;
  let text = platform ? `Server: ${platform}\n` : "Server:\n";
  for (const { Name, Version, Details = {} } of server.Components ?? []) {
    const details: [string, string | undefined][] =
      Name === "Engine"
        ? [
            ["API version", `${Details.ApiVersion} (minimum version ${Details.MinAPIVersion})`],
            ["Go version", Details.GoVersion],
            ["Git commit", Details.GitCommit],
            ["Kernel", Details.KernelVersion],
            ["Built", Details.BuildTime && builtText(Details.BuildTime)],
            ["OS/Arch", `${Details.Os}/${Details.Arch}`],
            ["Experimental", Details.Experimental],
          ]
        : Object.entries(Details).toSorted(([x], [y]) => (x < y ? -1 : 1));
    text += ` ${Name}:\n${fields("  ", [["Version", Version], ...details])}`;
  }
  return text;
}

/** RFC 3339 as C's asctime has it; anything else as it is. */
function builtText(text: string): string {
  const time = /^\d{4}-\d\d-\d\dT/.test(text) ? new Date(text) : undefined;
  if (!time || Number.isNaN(time.getTime())) return text;
  const [, day, date, month, year, clock] = /^(\w+), (\d+) (\w+) (\d+) ([\d:]+)/.exec(time.toUTCString())!;
  return `${day} ${month} ${String(Number(date)).padStart(2)} ${clock} ${year}`;
}

function fields(indent: string, pairs: readonly (readonly [string, string | undefined])[]): string {
  return pairs
    .filter(([, value]) => value)
    .map(([name, value]) => `${`${indent}${name}:`.padEnd(20)}${value}\n`)
    .join("");
}
