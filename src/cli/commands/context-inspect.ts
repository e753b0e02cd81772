import { ContextStore, DEFAULT_CONTEXT } from "../../client/contexts.ts";
import type { Command } from "../command.ts";
import { named } from "../context/endpoint-flag.ts";
import { formatFlag, inspectAll } from "../inspect.ts";

export const command: Command = {
  usage: "[OPTIONS] [CONTEXT] [CONTEXT...]",
  args: [0, Number.POSITIVE_INFINITY],
  flags: [formatFlag],
  description: "Without a name the current context. Certificates are named, not shown.",
  examples: [["inro context inspect -f '{{.Endpoints.docker.Host}}'", "Where the current one is"]],
  async run({ options, args, choice }) {
    const find = async (store: ContextStore, name: string) => {
      const { description, host, skipTlsVerify, tls } = named(name, store, choice);
      const { meta, tls: tlsPath } = store.paths(name);
      const inMemory = name === DEFAULT_CONTEXT;
      const files = Object.keys(tls);
      return {
        Name: name,
        Metadata: description === "" ? {} : { Description: description },
        Endpoints: { docker: { Host: host, SkipTLSVerify: skipTlsVerify } },
        TLSMaterial: files.length > 0 ? { docker: files } : {},
        Storage: {
          MetadataPath: inMemory ? "<IN MEMORY>" : meta,
          TLSPath: inMemory ? "<IN MEMORY>" : tlsPath,
        },
      };
    };
    return inspectAll(
      new ContextStore(choice.directory),
      args.length > 0 ? args : [choice.context],
      [find],
      options.string("format"),
    );
  },
};
