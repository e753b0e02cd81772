import { isStatus } from "../../client/api-error.ts";
import type { Engine } from "../../client/engine.ts";
import type { ContainerStats } from "../../spec/docker-api.ts";
import type { Command } from "../command.ts";
import { stdout } from "../output.ts";
import { endingSignal } from "../signals.ts";
import { statsRow } from "../stats-row.ts";
import { StatsWatch } from "../stats-watch.ts";
import { formatRows } from "../table.ts";
import { isTerminal } from "../terminal.ts";

const COLUMNS = "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

const HEADERS = {
  BlockIO: "BLOCK I/O",
  CPUPerc: "CPU %",
  Container: "CONTAINER",
  ID: "CONTAINER ID",
  MemPerc: "MEM %",
  MemUsage: "MEM USAGE / LIMIT",
  Name: "NAME",
  NetIO: "NET I/O",
  PIDs: "PIDS",
};

const REFRESH_MS = 500;
/** Of a terminal: to the first line; clear the rest of the line; clear what is below. */
const HOME = "\x1b[H";
const CLEAR_LINE = "\x1b[K";
const CLEAR_BELOW = "\x1b[J";

export const command: Command = {
  usage: "[OPTIONS] [CONTAINER...]",
  args: [0, Number.POSITIVE_INFINITY],
  completes: "running",
  flags: [
    { name: "all", short: "a", type: "bool", help: "Stopped containers as well" },
    { name: "format", type: "string", config: "statsFormat", help: 'Go template, "table TEMPLATE" or json' },
    { name: "no-stream", type: "bool", help: "One reading, then the end" },
    { name: "no-trunc", type: "bool", help: "Do not shorten" },
  ],
  description: "Without names: of all that run, and of those that start meanwhile.",
  examples: [
    ["inro stats", "A table that goes on until an interrupt"],
    ["inro stats --no-stream --format '{{.Name}}: {{.CPUPerc}}'", "One reading, in own lines"],
  ],
  async run({ options, args, engine }) {
    const api = engine();
    const full = options.bool("no-trunc");
    const table = (readings: Iterable<[string, ContainerStats | undefined]>) => {
      const rows = [...readings].map(([name, reading]) => statsRow(name, reading, full));
      return formatRows(options.string("format"), COLUMNS, rows, HEADERS);
    };
    if (options.bool("no-stream")) {
      await stdout.write(table(await readOnce(api, args, options.bool("all"))));
      return 0;
    }
    const watch = new StatsWatch(api);
    const ending = endingSignal();
    try {
      for (const name of args) await watch.add(name);
      if (args.length === 0) await watch.addAll(options.bool("all"));
      const over = Promise.race([ending.status, watch.failure]);
      for (;;) {
        await show(table(watch.readings));
        const status = await Promise.race([over, new Promise<void>((resolve) => setTimeout(resolve, REFRESH_MS))]);
        if (status !== undefined) return status;
        // All that were named have been removed.
        if (args.length > 0 && watch.readings.size === 0) return 0;
      }
    } finally {
      ending.stop();
      watch.close();
    }
  },
};

async function readOnce(api: Engine, names: string[], all: boolean): Promise<[string, ContainerStats | undefined][]> {
  const listed = names.length === 0;
  const wanted = listed ? (await api.listContainers({ all })).map(({ Id }) => Id) : names;
  const readings = wanted.map(async (name): Promise<[string, ContainerStats] | undefined> => {
    try {
      return [name, await api.containerStats(name)];
    } catch (error) {
      // One of the list was removed meanwhile.
      if (listed && isStatus(error, 404)) return undefined;
      throw error;
    }
  });
  return (await Promise.all(readings)).filter((one) => one !== undefined);
}

/** On a terminal in place of the table before. */
async function show(text: string): Promise<void> {
  if (!isTerminal(1)) return stdout.write(text);
  const lines = text.replaceAll("\n", `${CLEAR_LINE}\n`);
  return stdout.write(`${HOME}${lines}${CLEAR_BELOW}`);
}
