import type { Engine, Filters } from "../../client/engine.ts";
import { type Command, ExitError } from "../command.ts";
import { confirm, forceFlag } from "../confirm.ts";
import { pruneFilterFlag, pruneFilters } from "../filters.ts";
import { humanSize } from "../human.ts";
import { stdout } from "../output.ts";
import { block, imageLines } from "../pruned.ts";

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [
    { name: "all", short: "a", type: "bool", help: "All images that no container uses, not only those without a name" },
    { ...pruneFilterFlag, help: "Remove only what matches: until, label, label! (key=value)" },
    forceFlag,
    { name: "volumes", type: "bool", help: "Anonymous volumes too" },
  ],
  description: "Removes what nobody uses: stopped containers, networks, images, and anonymous volumes if asked.",
  examples: [
    ["inro system prune", "What is safe to go"],
    ["inro system prune -af --volumes", "All that is not in use, without asking"],
  ],
  async run(context) {
    const { options, engine } = context;
    const all = options.bool("all");
    const volumes = options.bool("volumes");
    const filters = pruneFilters(context);
    const values = Object.entries(filters)
      .flatMap(([key, all]) => all.map((value) => `${key}=${value}`))
      .toSorted();
    if (volumes && filters.until) throw new ExitError(1, 'ERROR: The "until" filter is not supported with "--volumes"');
    if (!options.bool("force")) await confirm(warning({ all, volumes, values }));
    let space = 0;
    for (const prune of [containers, networks, ...(volumes ? [anonymousVolumes] : []), images(all), buildCache(all)]) {
      const result = await prune(engine(), filters);
      await stdout.write(block(result.title, result.lines));
      space += result.space;
    }
    await stdout.line(`Total reclaimed space: ${humanSize(space, 4)}`);
    return 0;
  },
};

function warning({ all, volumes, values }: { all: boolean; volumes: boolean; values: readonly string[] }): string {
  const lines = [
    "all stopped containers",
    "all networks not used by at least one container",
    ...(volumes ? ["all anonymous volumes not used by at least one container"] : []),
    all ? "all images without at least one container associated to them" : "all dangling images",
    all ? "all build cache" : "unused build cache",
  ];
  const list = (items: readonly string[]) => items.map((item) => `\n  - ${item}`).join("");
  const filtered = values.length > 0 ? `\n  Items to be pruned will be filtered with:${list(values)}\n` : "";
  return `WARNING! This will remove:${list(lines)}\n${filtered}`;
}

interface Result {
  title: string;
  lines: string[];
  space: number;
}

async function containers(engine: Engine, filters: Filters): Promise<Result> {
  const { ContainersDeleted, SpaceReclaimed } = await engine.pruneContainers(filters);
  return { title: "Deleted Containers:", lines: ContainersDeleted ?? [], space: SpaceReclaimed };
}

const buildCache =
  (all: boolean) =>
  async (engine: Engine, filters: Filters): Promise<Result> => {
    const query = { all: all || undefined, filters: textOf(filters) };
    const answer = await engine.json<Partial<{ CachesDeleted: string[] | null; SpaceReclaimed: number }>>(
      "POST",
      "/build/prune",
      { query },
    );
    return {
      title: "Deleted build cache objects:",
      lines: answer.CachesDeleted ?? [],
      space: answer.SpaceReclaimed ?? 0,
    };
  };

const textOf = (filters: Filters) => (Object.keys(filters).length > 0 ? JSON.stringify(filters) : undefined);

async function networks(engine: Engine, filters: Filters): Promise<Result> {
  const { NetworksDeleted } = await engine.pruneNetworks(filters);
  return { title: "Deleted Networks:", lines: NetworksDeleted ?? [], space: 0 };
}

async function anonymousVolumes(engine: Engine, filters: Filters): Promise<Result> {
  const { VolumesDeleted, SpaceReclaimed } = await engine.pruneVolumes(filters);
  return { title: "Deleted Volumes:", lines: VolumesDeleted ?? [], space: SpaceReclaimed };
}

const images =
  (all: boolean) =>
  async (engine: Engine, filters: Filters): Promise<Result> => {
    const answer = await engine.pruneImages({ ...filters, dangling: [String(!all)] });
    return { title: "Deleted Images:", lines: imageLines(answer.ImagesDeleted ?? []), space: answer.SpaceReclaimed };
  };
