import { isStatus } from "../../client/api-error.ts";
import { type Command, ExitError } from "../command.ts";
import { containerObject } from "../container-object.ts";
import { MANY } from "../each.ts";
import { type Finder, formatFlag, inspectAll } from "../inspect.ts";
import { stderr } from "../output.ts";

const get =
  (collection: string): Finder =>
  (engine, name) =>
    engine.json("GET", `/${collection}/${encodeURIComponent(name)}`);

/** In the order in which a name without a type is looked for; those of Swarm only when they are asked for. */
const KINDS: Readonly<Record<string, Finder>> = {
  container: (engine, name) => containerObject(engine, name, false),
  image: (engine, name) => engine.inspectImage(name),
  network: get("networks"),
  volume: get("volumes"),
  service: get("services"),
  task: get("tasks"),
  node: get("nodes"),
  plugin: (engine, name) => engine.json("GET", `/plugins/${encodeURIComponent(name)}/json`),
  secret: get("secrets"),
  config: get("configs"),
};
const USUAL = ["container", "image", "network", "volume"];

export const command: Command = {
  usage: "[OPTIONS] NAME|ID [NAME|ID...]",
  args: [1, MANY],
  completes: "container",
  flags: [
    formatFlag,
    { name: "size", short: "s", type: "bool", help: "Sizes of containers" },
    { name: "type", type: "string", choices: Object.keys(KINDS), help: `Look only for this: ${USUAL.join(", ")}, …` },
  ],
  description: "Looks for a container, then an image, a network, a volume of each name.",
  examples: [
    ["inro inspect web", "Everything about a container"],
    ["inro inspect -f '{{.State.Status}} {{.State.ExitCode}}' web", "Some fields"],
    ["inro inspect -f '{{json .Config.Env}}' alpine", "A part as JSON"],
  ],
  async run({ options, args, engine }) {
    const type = options.string("type");
    const size = options.bool("size");
    const kinds: Record<string, Finder> = { ...KINDS, container: (api, name) => containerObject(api, name, size) };
    if (type !== "" && !Object.hasOwn(kinds, type)) {
      const known = Object.keys(kinds)
        .toSorted()
        .map((name) => JSON.stringify(name));
      throw new ExitError(1, `unknown type: ${JSON.stringify(type)}: must be one of ${known.join(", ")}`);
    }
    if (size && type !== "" && type !== "container") await stderr.line(`WARNING: --size ignored for ${type}s`);
    // Of one type the engine's own words tell what is missing.
    const finders = type === "" ? USUAL.map((name) => quiet(kinds[name]!)) : [kinds[type]!];
    return inspectAll(engine(), args, finders, options.string("format"));
  },
};

/** What is not found, or not there at all in this engine, leaves the name to the next kind. */
function quiet(find: Finder): Finder {
  return (engine, name) =>
    find(engine, name).catch((error: unknown) => {
      if (isStatus(error, 404) || isStatus(error, 501)) return undefined;
      throw error;
    });
}
