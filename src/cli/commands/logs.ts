import { Demultiplexer, type StreamName } from "../../client/stdcopy.ts";
import type { Command } from "../command.ts";
import { stderr, stdout } from "../output.ts";
import { endingSignal } from "../signals.ts";
import { resolveTime } from "../time.ts";

export const command: Command = {
  usage: "[OPTIONS] CONTAINER",
  args: [1, 1],
  completes: "container",
  flags: [
    { name: "details", type: "bool", help: "Show the log options' attributes" },
    { name: "follow", short: "f", type: "bool", help: "Go on until the container ends" },
    { name: "since", type: "string", help: "From this time (2026-01-02T13:23:37Z) or this long ago (42m)" },
    { name: "tail", short: "n", type: "string", default: "all", help: "Only the last N lines" },
    { name: "timestamps", short: "t", type: "bool", help: "Time before each line" },
    { name: "until", type: "string", help: "Up to this time or this long ago" },
  ],
  examples: [
    ["inro logs -f --tail 20 web", "The last lines, then what comes"],
    ["inro logs --since 10m -t web", "The last ten minutes, with times"],
  ],
  async run({ options, args, engine }) {
    const api = engine();
    const [id] = args as [string];
    const { Config } = await api.inspectContainer(id);
    const response = await api.logs(id, {
      follow: options.bool("follow"),
      stdout: true,
      stderr: true,
      since: resolveTime(options.string("since")),
      until: resolveTime(options.string("until")),
      timestamps: options.bool("timestamps"),
      details: options.bool("details"),
      tail: options.string("tail") || "all",
    });
    const ending = endingSignal();
    const copy = async (): Promise<number> => {
      const demultiplexer = Config.Tty ? undefined : new Demultiplexer();
      for await (const chunk of response.body) {
        if (!demultiplexer) await stdout.write(chunk);
        else for (const { stream, data } of joined(demultiplexer.push(chunk))) await stream.write(data);
      }
      return 0;
    };
    try {
      return await Promise.race([copy(), ending.status]);
    } finally {
      ending.stop();
      response.close();
    }
  },
};

/** Lines that follow each other on the same stream as one piece: there may be thousands in a chunk. */
function* joined(pieces: Iterable<{ stream: StreamName; data: Uint8Array }>) {
  let last: StreamName = "stdout";
  let run: Uint8Array[] = [];
  const take = () => ({ stream: last === "stderr" ? stderr : stdout, data: Buffer.concat(run) });
  for (const { stream, data } of pieces) {
    if (stream !== last && run.length > 0) {
      yield take();
      run = [];
    }
    last = stream;
    run.push(data);
  }
  if (run.length > 0) yield take();
}
