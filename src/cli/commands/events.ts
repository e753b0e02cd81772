import { compileTemplate } from "../../base/template/template.ts";
import type { EventMessage } from "../../spec/docker-api.ts";
import type { Command } from "../command.ts";
import { filterFlag, toFilters } from "../filters.ts";
import { stdout } from "../output.ts";
import { endingSignal } from "../signals.ts";
import { localTime } from "../text.ts";
import { resolveTime } from "../time.ts";

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [
    filterFlag,
    { name: "format", type: "string", help: "Go template, or json" },
    { name: "since", type: "string", help: "Also what has happened since this time or for this long" },
    { name: "until", type: "string", help: "Up to this time" },
  ],
  description: "Goes on until --until or an interrupt. The engine keeps the last 256 events.",
  examples: [
    ["inro events", "What happens from now on"],
    ["inro events --filter type=container --filter event=die", "Ends of containers"],
    ["inro events --since 10m --until 0s --format json", "The last ten minutes as JSON lines"],
  ],
  async run({ options, engine }) {
    const print = printer(options.string("format"));
    const ending = endingSignal();
    const stream = await engine().events({
      since: resolveTime(options.string("since")),
      until: resolveTime(options.string("until")),
      filters: toFilters(options.list("filter")),
    });
    const copy = async (): Promise<number> => {
      for await (const event of stream.events) await stdout.write(print(event));
      return 0;
    };
    try {
      return await Promise.race([copy(), ending.status]);
    } finally {
      ending.stop();
      stream.close();
    }
  },
};

function printer(format: string): (event: EventMessage) => string {
  if (format === "") return line;
  if (format === "json") return (event) => `${JSON.stringify(event)}\n`;
  const print = compileTemplate(format.replaceAll("\\t", "\t").replaceAll("\\n", "\n"));
  return (event) => `${print(fields(event))}\n`;
}

/** The names of Go's struct, which templates use; `{{json .}}` prints those of the API. */
function fields(event: EventMessage): object {
  const { Type, Action, Actor, scope: Scope, time: Time, timeNano: TimeNano } = event;
  const data = {
    Type,
    Action,
    Actor,
    Scope,
    Time,
    TimeNano,
    Status: Action,
    ID: Actor.ID,
    From: Actor.Attributes.image,
  };
  return Object.defineProperty({ ...data, From: data.From ?? "" }, "toJSON", { value: () => event, enumerable: false });
}

/** `2026-01-02T15:04:05.000000000Z container start ID (image=busybox, name=web)` */
function line({ Type, Action, Actor, timeNano }: EventMessage): string {
  const attributes = Object.entries(Actor.Attributes ?? {})
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`);
  const about = attributes.length > 0 ? ` (${attributes.join(", ")})` : "";
  return `${localTime(timeNano)} ${Type} ${Action} ${Actor.ID}${about}\n`;
}
