import { type Command, ExitError } from "../command.ts";
import { type Explored, explore } from "../explore/image-tree.ts";
import { printable, Screen } from "../explore/screen.ts";
import { humanSize } from "../human.ts";
import { stdout } from "../output.ts";
import { align } from "../table.ts";
import { isTerminal, rawMode, readStdin, terminalSize, watchSize } from "../terminal.ts";

const SHOWN_PATHS = 20;

export const command: Command = {
  usage: "[OPTIONS] IMAGE",
  args: [1, 1],
  completes: "image",
  flags: [
    { name: "json", type: "bool", help: "Print it as JSON" },
    { name: "plain", type: "bool", help: "Print it as text, on a terminal too" },
    { name: "ci", type: "bool", help: "Exit with 1 when the image does not keep the limits below" },
    {
      name: "min-efficiency",
      type: "string",
      value: "0..1",
      default: "0.9",
      parse: ratio,
      help: "With --ci: the least part of its bytes that the image must show",
    },
    {
      name: "max-wasted",
      type: "string",
      value: "bytes",
      parse: size,
      help: "With --ci: most bytes that later layers may hide, such as 50MB",
    },
  ],
  description: `Layers of an image, what each adds (+), changes (~) and removes (-), and the bytes that nobody sees since a
later layer replaces or removes them. On a terminal: arrows move, tab changes the pane, space folds a directory, c shows
changes only, q leaves.`,
  examples: [
    ["inro image explore debian", "On the terminal"],
    ["inro image explore --ci --min-efficiency 0.95 --max-wasted 20MB app", "In a CI: status 1 when it is worse"],
  ],
  async run({ options, args, engine }) {
    const [name] = args as [string];
    const explored = await explore(engine().imageFiles(name));
    const commands = (await engine().imageHistory(name))
      .toReversed()
      .filter(
        ({ Size, CreatedBy }) => Size > 0 || !/#\(nop\)|^(?:CMD|ENV|LABEL|EXPOSE|ENTRYPOINT|USER)\b/.test(CreatedBy),
      )
      .map(({ CreatedBy }) => CreatedBy);
    const known = commands.length === explored.layers.length ? commands : [];
    if (options.bool("json")) await stdout.line(JSON.stringify(toJson(name, explored, known), null, 2));
    else if (options.bool("ci") || options.bool("plain") || !isTerminal(0) || !isTerminal(1)) {
      await stdout.write(text(explored, known));
    } else {
      await show(new Screen(printable(name), explored, known));
      return 0;
    }
    if (!options.bool("ci")) return 0;
    const least = options.value<number>("min-efficiency") ?? 0.9;
    const most = options.value<number>("max-wasted") ?? Number.POSITIVE_INFINITY;
    const failures = [
      ...(explored.efficiency < least ? [`efficiency ${explored.efficiency.toFixed(4)} is below ${least}`] : []),
      ...(explored.wasted > most ? [`${humanSize(explored.wasted)} wasted, more than ${humanSize(most)}`] : []),
    ];
    if (failures.length > 0) throw new ExitError(1, `${name}: ${failures.join("; ")}`);
    return 0;
  },
};

function toJson(
  name: string,
  { layers, size, wasted, efficiency, wastedPaths }: Explored,
  commands: readonly string[],
) {
  return {
    image: name,
    size,
    wasted,
    efficiency,
    layers: layers.map((layer, i) => ({ ...layer, command: commands[i] ?? "" })),
    wastedPaths: wastedPaths.map((one) => ({ ...one, path: `/${one.path}` })),
  };
}

function text({ layers, size, wasted, efficiency, wastedPaths }: Explored, commands: readonly string[]): string {
  const rows = layers.map(
    (layer, i) =>
      `${i + 1}\t${humanSize(layer.size)}\t+${layer.added}\t~${layer.changed}\t-${layer.removed}\t${printable(commands[i] ?? layer.diffId).slice(0, 80)}`,
  );
  const paths = wastedPaths
    .slice(0, SHOWN_PATHS)
    .map(({ bytes, times, path }) => `${humanSize(bytes)}\t${times}\t/${printable(path)}`);
  return [
    align(["LAYER\tSIZE\tADDED\tCHANGED\tREMOVED\tCREATED BY", ...rows]),
    `\nSize ${humanSize(size)}, efficiency ${(efficiency * 100).toFixed(2)} %, wasted ${humanSize(wasted)}\n`,
    ...(paths.length > 0 ? ["\n", align(["WASTED\tLAYERS\tPATH", ...paths])] : []),
  ].join("");
}

async function show(screen: Screen): Promise<void> {
  const draw = () => stdout.write(screen.render(terminalSize() ?? { h: 24, w: 80 }));
  const restore = rawMode();
  const unwatch = watchSize(() => void draw());
  await stdout.write("\x1b[?1049h\x1b[?25l");
  try {
    await draw();
    for await (const chunk of readStdin(true)) {
      const keys =
        Buffer.from(chunk)
          .toString()
          .match(/\x1b\[[0-9;]*[A-Za-z~]|[\s\S]/g) ?? [];
      if (!keys.every((key) => screen.key(key))) return;
      await draw();
    }
  } finally {
    unwatch();
    await stdout.write("\x1b[?25h\x1b[?1049l");
    restore();
  }
}

function ratio(value: string): number {
  const number = Number(value);
  if (value.trim() === "" || !(number >= 0 && number <= 1)) throw new Error("a number from 0 to 1");
  return number;
}

function size(value: string): number {
  const parts = /^(\d+(?:\.\d+)?) ?([kKmMgG]?)(i?)[bB]?$/.exec(value);
  if (!parts) throw new Error("bytes, such as 50MB");
  return Number(parts[1]) * (parts[3] ? 1024 : 1000) ** " kmg".indexOf(parts[2]!.toLowerCase() || " ");
}
