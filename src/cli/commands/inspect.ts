import { type Command, ExitError } from "../command.ts";
import { MANY } from "../each.ts";
import { type Finder, finder, formatFlag, inspectAll } from "../inspect.ts";

export const command: Command = {
  usage: "[OPTIONS] NAME|ID [NAME|ID...]",
  args: [1, MANY],
  completes: "container",
  flags: [
    formatFlag,
    { name: "size", short: "s", type: "bool", help: "Sizes of containers" },
    { name: "type", type: "string", choices: ["container", "image"], help: "Look only for this: container, image" },
  ],
  examples: [
    ["inro inspect web", "Everything about a container"],
    ["inro inspect -f '{{.State.Status}} {{.State.ExitCode}}' web", "Some fields"],
    ["inro inspect -f '{{json .Config.Env}}' alpine", "A part as JSON"],
  ],
  async run({ options, args, engine }) {
    const size = options.bool("size");
    const kinds: Record<string, Finder> = {
      container: finder((api, name) => api.inspectContainer(name, { size })),
      image: finder((api, name) => api.inspectImage(name)),
    };
    const type = options.string("type");
    if (type !== "" && !Object.hasOwn(kinds, type)) {
      throw new ExitError(1, `${JSON.stringify(type)} is not a valid value for --type (container, image)`);
    }
    const finders = type === "" ? Object.values(kinds) : [kinds[type]!];
    return inspectAll(engine(), args, finders, options.string("format"), (name) =>
      type === "" ? `Error: No such object: ${name}` : `Error: No such ${type}: ${name}`,
    );
  },
};
