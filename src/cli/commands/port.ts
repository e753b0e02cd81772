import { type Command, ExitError } from "../command.ts";
import { MANY } from "../each.ts";
import { stdout } from "../output.ts";
import { auditPorts, changePorts } from "../port-changes.ts";

type Bindings = Record<string, { HostIp: string; HostPort: string }[] | null>;

export const command: Command = {
  usage: "CONTAINER [PRIVATE_PORT[/PROTO]] | add CONTAINER PORT... | rm CONTAINER PORT... | audit",
  args: [1, MANY],
  completes: "running",
  description: `Shows the published ports of a container. add publishes more of a running one, in the words of run --publish, and
rm takes them back. audit lists what is reached from where, of all containers.`,
  flags: [{ name: "format", type: "string", help: 'Of audit: Go template, "table TEMPLATE" or json' }],
  examples: [
    ["inro port web", "All published ports"],
    ["inro port web 80", "Where port 80 is reached"],
    ["inro port add web 0.0.0.0:8080:80", "Publish one more, for the whole network"],
    ["inro port rm web 8080:80", "Take it back"],
    ["inro port audit", "What is reachable from where"],
  ],
  async run({ args, options, engine }) {
    const [name, port, ...more] = args as [string, string?, ...string[]];
    if ((name === "add" || name === "rm") && more.length > 0) return changePorts(engine(), name, port!, more);
    if (name === "audit" && port === undefined) return auditPorts(engine(), options.string("format"));
    if (more.length > 0) throw new ExitError(1, `"inro port" takes a container and at most one port: ${more[0]}`);
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
