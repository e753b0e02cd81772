import { readdirSync, readlinkSync } from "node:fs";
import type { Context } from "../context.ts";
import type { Finding } from "../requests.ts";
import type { NetworkRecord } from "./records.ts";

type Found = Omit<Finding, "repaired"> & { repair(): unknown };

/** What the kernel has of networks and what the records say, compared. Empty where nothing was ever made. */
export function* networkProbe(ctx: Context): Iterable<Found> {
  const { driver } = ctx.networks;
  if (ctx.networks.known.length === 0) return;
  const links = driver.stack.links();
  const running = ctx.table.all().filter(({ state }) => state.network !== undefined);
  const endpoints = running.flatMap((container) =>
    container.state.network!.endpoints.map((endpoint) => ({ container, endpoint })),
  );
  const names = new Set(links.map(({ name }) => name));
  const bridges = new Map<number, NetworkRecord | undefined>();
  for (const { index, name, kind, alias = "" } of links) {
    if (kind !== "bridge" || !alias.startsWith(driver.mark(""))) continue;
    const network = ctx.networks.known.find(({ id }) => alias === driver.mark(id));
    bridges.set(index, network);
    if (network) continue;
    yield {
      kind: "interface",
      object: name,
      problem: "bridge of no network",
      repair: () => driver.stack.deleteLink(index, name),
    };
  }
  const known = new Set(endpoints.map(({ endpoint }) => endpoint.hostInterface));
  for (const { index, name, master } of links) {
    if (master === undefined || !bridges.has(master) || known.has(name)) continue;
    const problem = "port of a bridge of ours, of no running container";
    yield { kind: "interface", object: name, problem, repair: () => driver.stack.deleteLink(index, name) };
  }
  for (const { container, endpoint } of endpoints) {
    const { hostInterface } = endpoint;
    const network = ctx.networks.byId(endpoint.network);
    if (!hostInterface || !network) continue;
    const name = container.record.name;
    if (!names.has(hostInterface)) {
      const repair = () => {
        throw new Error(`restart container ${name}`);
      };
      yield { kind: "interface", object: hostInterface, problem: `container ${name} has lost it`, repair };
    } else if (bridges.get(links.find((link) => link.name === hostInterface)!.master ?? 0)?.id !== network.id) {
      const repair = () => ctx.endpoints.reattach();
      yield {
        kind: "interface",
        object: hostInterface,
        problem: `not in the bridge of network ${network.name}`,
        repair,
      };
    }
  }
  yield* firewallProbe(ctx, running.length > 0);
  yield* namespaceProbe(ctx.endpoints.next.fd);
}

function* firewallProbe(ctx: Context, wanted: boolean): Iterable<Found> {
  const { firewall, guard } = ctx.networks.driver;
  const object = firewall.table.name;
  if (wanted && guard.used && !guard.isThere) {
    yield { kind: "firewall", object, problem: "the bridges' table is not there", repair: () => guard.build() };
  } else if (!wanted && !firewall.used && guard.isThere) {
    yield { kind: "firewall", object, problem: "a bridges' table of no network", repair: () => guard.withdraw() };
  }
  if (wanted && firewall.networks.length > 0 && !firewall.isThere) {
    yield { kind: "firewall", object, problem: "the table is not there", repair: () => firewall.build(true) };
  } else if (!wanted && firewall.networks.length === 0 && firewall.isThere) {
    yield { kind: "firewall", object, problem: "a table of no network", repair: () => firewall.remove() };
  }
}

/** The engine holds a network namespace for the moment of a start alone, and the one of the next start. */
function* namespaceProbe(next: number | undefined): Iterable<Found> {
  for (const fd of readdirSync("/proc/self/fd")) {
    if (fd === String(next)) continue;
    let target: string;
    try {
      target = readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      continue;
    }
    if (!target.startsWith("net:[")) continue;
    const repair = () => {
      throw new Error("restart the engine");
    };
    yield { kind: "namespace", object: target, problem: `held by the engine, descriptor ${fd}`, repair };
  }
}
