import { ContextStore, DEFAULT_CONTEXT, type StoredContext } from "../../client/contexts.ts";
import type { Command } from "../command.ts";
import { named, overridden } from "../context/endpoint-flag.ts";
import { stderr, stdout } from "../output.ts";
import { formatRows } from "../table.ts";

const HEADERS = {
  Name: "NAME",
  Description: "DESCRIPTION",
  DockerEndpoint: "DOCKER ENDPOINT",
  Error: "ERROR",
  Current: "",
};
const USUAL = "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}";

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [
    { name: "format", type: "string", help: 'Go template, "table TEMPLATE" or json' },
    { name: "quiet", short: "q", type: "bool", help: "Only names" },
  ],
  examples: [["inro context ls", "All of them, the current one marked"]],
  async run({ options, choice }) {
    const store = new ContextStore(choice.directory);
    const current = choice.context;
    const all: (StoredContext & { error?: string })[] = store.list();
    all.push({
      ...named(DEFAULT_CONTEXT, store, choice),
      description: "Current DOCKER_HOST based configuration",
    });
    if (!all.some(({ name }) => name === current)) {
      const error = `context ${JSON.stringify(current)} not found`;
      all.push({ name: current, description: "", host: "", skipTlsVerify: false, tls: {}, error });
    }
    all.sort((a, b) => (a.name < b.name ? -1 : 1));
    if (options.bool("quiet")) {
      await stdout.write(all.map(({ name }) => `${name}\n`).join(""));
      return 0;
    }
    const rows = all.map(({ name, description, host, error = "" }) => ({
      Name: name,
      Description: description,
      DockerEndpoint: host,
      Error: error,
      Current: name === current,
    }));
    await stdout.write(formatRows(options.string("format"), USUAL, rows, HEADERS));
    const warning = overridden("a context");
    if (warning && all.length > 1 && !options.has("format")) await stderr.line(warning);
    return 0;
  },
};
