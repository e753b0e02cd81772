import { type Command, ExitError } from "../command.ts";
import { printable } from "../explore/screen.ts";
import { stderr, stdout } from "../output.ts";
import { align } from "../table.ts";

interface Packages {
  packages: { type: string; namespace?: string; name: string; version: string; source: string }[];
  unread: { path: string; why: string }[];
}

const FORMATS = ["table", "spdx", "cyclonedx"] as const;

export const command: Command = {
  usage: "[OPTIONS] IMAGE",
  args: [1, 1],
  completes: "image",
  flags: [
    {
      name: "format",
      type: "string",
      default: "table",
      choices: FORMATS,
      help: "table, spdx (2.3) or cyclonedx (1.6)",
    },
    { name: "attach", type: "bool", help: "Attach it to the image at its registry, as a referrer" },
    { name: "output", short: "o", type: "string", value: "file", completes: "file", help: "Write it here" },
  ],
  description: `Packages by what dpkg, apk, rpm, npm, pip, Go and Cargo left in the image's files. Nothing of the image is run, and
nobody else is asked. The same image has the same document.`,
  examples: [
    ["inro sbom debian", "A table"],
    ["inro sbom --format spdx --attach example.org/app:1", "For all who pull it"],
    ["inro sbom --format spdx -o app.spdx.json app", "For other tools"],
  ],
  async run({ options, args, engine }) {
    const [name] = args as [string];
    const format = options.has("format") ? options.string("format") : "table";
    const known = FORMATS.find((one) => one === format || `${one}-json` === format);
    if (!known) throw new ExitError(125, `invalid --format ${JSON.stringify(format)}: ${FORMATS.join(", ")}`);
    if (options.bool("attach")) {
      if (known === "table") throw new ExitError(125, "--attach needs --format spdx or cyclonedx");
      const { digest } = await engine().attachSbom(name, known);
      await stdout.line(digest);
      return 0;
    }
    const text =
      known === "table"
        ? await table(await engine().imageSbom<Packages>(name, "packages"))
        : `${JSON.stringify(await engine().imageSbom(name, known), null, 2)}\n`;
    if (options.has("output")) await Bun.write(options.string("output"), text);
    else await stdout.write(text);
    return 0;
  },
};

async function table({ packages, unread }: Packages): Promise<string> {
  for (const { path, why } of unread) await stderr.line(`not read: ${printable(path)}: ${why}`);
  const rows = packages.map(({ type, namespace, name, version, source }) =>
    [namespace === undefined ? name : `${namespace}/${name}`, version, type, source].map(printable).join("\t"),
  );
  return align(["NAME\tVERSION\tTYPE\tFOUND IN", ...rows]);
}
