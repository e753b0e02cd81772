import type { Engine } from "../client/engine.ts";
import { ExitError } from "./command.ts";
import { parsePorts } from "./create/ports.ts";
import { stdout } from "./output.ts";
import { formatRows } from "./table.ts";

/** As the engine tells of a published port. */
interface Published {
  Container: string;
  Port: number;
  Protocol: string;
  HostAddress: string;
  HostPort: number;
  From: string;
}

/** `port add` and `port rm`: `specs` as --publish has them. Prints what was added. */
export async function changePorts(
  engine: Engine,
  what: "add" | "rm",
  container: string,
  specs: readonly string[],
): Promise<number> {
  const { bindings } = parsePorts(specs, []);
  if (Object.keys(bindings).length === 0) throw new ExitError(1, `inro port ${what}: no port given`);
  const { Added } = await engine.json<{ Added: Published[] }>(
    "POST",
    `/inro/containers/${encodeURIComponent(container)}/ports`,
    { json: what === "add" ? { Add: bindings } : { Remove: bindings } },
  );
  await stdout.write(Added.map((port) => `${port.Port}/${port.Protocol} -> ${hostOf(port)}\n`).join(""));
  return 0;
}

/** `port audit`. */
export async function auditPorts(engine: Engine, format: string): Promise<number> {
  const ports = await engine.json<Published[]>("GET", "/inro/ports");
  const rows = ports.map((port) => ({
    Container: port.Container,
    Port: `${port.Port}/${port.Protocol}`,
    Host: hostOf(port),
    From: port.From,
  }));
  const headers = { Container: "CONTAINER", Port: "PORT", Host: "REACHED AT", From: "FROM" };
  await stdout.write(formatRows(format, "{{.Container}}\t{{.Port}}\t{{.Host}}\t{{.From}}", rows, headers));
  return 0;
}

function hostOf({ HostAddress, HostPort }: Published): string {
  if (HostPort === 0) return "its own address";
  return `${HostAddress.includes(":") ? `[${HostAddress}]` : HostAddress}:${HostPort}`;
}
