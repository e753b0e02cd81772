import { ContextStore, checkContextName } from "../../client/contexts.ts";
import { type Command, ExitError } from "../command.ts";
import { descriptionFlag, dockerFlag, endpointFlag, named } from "../context/endpoint-flag.ts";
import { stderr, stdout } from "../output.ts";

export const command: Command = {
  usage: "[OPTIONS] CONTEXT",
  args: [1, 1],
  flags: [descriptionFlag, dockerFlag, { name: "from", type: "string", help: "Context to copy" }],
  description:
    "A context is an engine under a name, kept where docker keeps it. Without --docker it is the present engine.",
  examples: [
    ["inro context create build --docker host=ssh://me@build.example", "By way of ssh"],
    [
      "inro context create prod --docker host=tcp://prod.example:2376,ca=ca.pem,cert=cert.pem,key=key.pem",
      "With certificates, which are copied",
    ],
  ],
  async run({ options, args, choice }) {
    const [name] = args as [string];
    const store = new ContextStore(choice.directory);
    checkContextName(name);
    if (store.has(name)) throw new ExitError(1, `context "${name}" already exists`);
    const from = options.string("from");
    if (from && options.has("docker")) throw new ExitError(1, "cannot use --docker flag when --from is set");
    const origin = from ? named(from, store, choice) : endpointFlag(options.list("docker"), store, choice);
    const description = options.string("description") || (from ? named(from, store, choice).description : "");
    store.put({ ...origin, name, description });
    await stdout.line(name);
    await stderr.line(`Successfully created context "${name}"`);
    return 0;
  },
};
