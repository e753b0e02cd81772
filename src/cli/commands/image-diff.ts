import type { Engine } from "../../client/engine.ts";
import type { Command } from "../command.ts";
import { compareFiles, compareValues } from "../explore/compare.ts";
import { explore, finalFiles } from "../explore/image-tree.ts";
import { printable } from "../explore/screen.ts";
import { stdout } from "../output.ts";

/** Of inspect: what an image is, and not how it came here. */
const COMPARED = ["Architecture", "Variant", "Os", "OsVersion", "Author", "Comment", "Config", "Created"] as const;
const SIGN = { added: "+", removed: "-", changed: "~" } as const;

export const command: Command = {
  usage: "[OPTIONS] IMAGE IMAGE",
  args: [2, 2],
  completes: "image",
  flags: [
    { name: "json", type: "bool", help: "Print it as JSON" },
    { name: "ignore-times", type: "bool", help: "Times of files, and of the image, are no difference" },
  ],
  description: `What differs between two images: configuration, layers, and files, each with what is different about it. The
status is 0 when nothing is, 1 when something is.`,
  examples: [
    ["inro image diff app:1 app:2", "From the first to the second"],
    ["inro image diff --ignore-times app:1 app:2", "Whether it is the same but for times"],
  ],
  async run({ options, args, engine }) {
    const [before, after] = await Promise.all(args.map((name) => look(engine(), name)));
    const ignoreTimes = options.bool("ignore-times");
    const config = compareValues(before!.config, after!.config).filter(
      ([path]) => !(ignoreTimes && path === "Created"),
    );
    const layers = compareLayers(before!.layers, after!.layers);
    const files = compareFiles(before!.files, after!.files).filter(({ properties }) => {
      if (!ignoreTimes || !properties) return true;
      delete properties.mtime;
      return Object.keys(properties).length > 0;
    });
    if (options.bool("json")) {
      const shown = files.map((one) => ({ ...one, path: `/${one.path}` }));
      const changes = config.map(([path, from, to]) => ({ path, before: from ?? null, after: to ?? null }));
      await stdout.line(JSON.stringify({ config: changes, layers, files: shown }, null, 2));
    } else {
      const lines = [
        ...config.map(([path, from, to]) => `config ${path}: ${value(from)} → ${value(to)}`),
        ...layers.map(({ index, before: from, after: to }) => `layer ${index}: ${from ?? "none"} → ${to ?? "none"}`),
        ...files.map(({ path, change, properties = {} }) => {
          const what = Object.entries(properties).map(([name, [from, to]]) => `${name} ${short(from)} → ${short(to)}`);
          return `${SIGN[change]} /${path}${what.length > 0 ? `: ${what.join(", ")}` : ""}`;
        }),
      ];
      await stdout.write(lines.map((line) => `${printable(line)}\n`).join(""));
    }
    return config.length + files.length + (ignoreTimes ? 0 : layers.length) === 0 ? 0 : 1;
  },
};

async function look(engine: Engine, name: string) {
  const inspected = (await engine.inspectImage(name)) as unknown as Record<string, unknown> & {
    RootFS: { Layers?: string[] };
  };
  const { lines } = await explore(engine.imageFiles(name, { digests: true }));
  return {
    config: Object.fromEntries(COMPARED.map((key) => [key, inspected[key]])),
    layers: inspected.RootFS.Layers ?? [],
    files: finalFiles(lines),
  };
}

function compareLayers(before: readonly string[], after: readonly string[]) {
  const length = Math.max(before.length, after.length);
  return Array.from({ length }, (_, i) => ({
    index: i + 1,
    before: before[i] ?? null,
    after: after[i] ?? null,
  })).filter((one) => one.before !== one.after);
}

const value = (one: unknown) => (one === undefined ? "none" : JSON.stringify(one));
const short = (text: string) => (text === "" ? "none" : text.replace(/^sha256:([0-9a-f]{12})[0-9a-f]{52}$/, "$1"));
