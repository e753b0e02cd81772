import { type Command, ExitError } from "../command.ts";
import { stdout } from "../output.ts";

type Bindings = Record<string, { HostIp: string; HostPort: string }[] | null>;

export const command: Command = {
  usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
  args: [1, 2],
  completes: "running",
  flags: [],
  examples: [
    ["inro port web", "All published ports"],
    ["inro port web 80", "Where port 80 is reached"],
  ],
  async run({ args, engine }) {
    const [name, port] = args as [string, string?];
    const { NetworkSettings } = await engine().inspectContainer(name);
    const bindings = (NetworkSettings as { Ports?: Bindings | null } | undefined)?.Ports ?? {};
    const reached = ({ HostIp, HostPort }: { HostIp: string; HostPort: string }) =>
      `${HostIp.includes(":") ? `[${HostIp}]` : HostIp}:${HostPort}`;
    if (port === undefined) {
      const lines = Object.entries(bindings).flatMap(([from, to]) =>
        (to ?? []).map((one) => `${from} -> ${reached(one)}\n`),
      );
      await stdout.write(lines.toSorted(byPort).join(""));
      return 0;
    }
    const [number = "", protocol = "tcp"] = port.split("/");
    if (!/^\d{1,5}$/.test(number)) throw new ExitError(1, `Error: invalid port (${port}): invalid syntax`);
    const found = bindings[`${number}/${protocol}`];
    if (!found) throw new ExitError(1, `Error: No public port '${port}' published for ${name}`);
    await stdout.write(found.map((one) => `${reached(one)}\n`).join(""));
    return 0;
  },
};

/** By the container's port as a number. */
function byPort(a: string, b: string): number {
  return Number.parseInt(a, 10) - Number.parseInt(b, 10) || (a < b ? -1 : 1);
}
