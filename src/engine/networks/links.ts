import { InroError } from "../../base/errors.ts";
import type { Container } from "../container.ts";
import type { ContainerTable } from "../table.ts";

/** Links (docker's old way of names, on the default network): each running container that is named, and its names. */
export function linkedNames(table: ContainerTable, container: Container): { address: string; names: string[] }[] {
  const { host, endpoints = {} } = container.record;
  const inNetworks = Object.values(endpoints).flatMap(({ links = [] }) => links);
  return [...(host.Links ?? []), ...inNetworks].flatMap((link) => {
    const [ref = "", alias = ref] = link.split(":");
    // In a network that somebody made, a link may name a container that is yet to come.
    const other = table.find(ref);
    if (!other) return [];
    const mine = new Set(container.state.network?.endpoints.map(({ network }) => network));
    const endpoint = other.state.network?.endpoints.find(({ network }) => mine.has(network));
    const { name, id, config } = other.record;
    const names = [...new Set([alias.replace(/^\//, ""), config.Hostname || id.slice(0, 12), name])];
    return endpoint?.ipv4 ? [{ address: endpoint.ipv4, names }] : [];
  });
}

/** Links of the container must name running containers: notFound, conflict. */
export function checkLinks(table: ContainerTable, container: Container): void {
  for (const link of container.record.host.Links ?? []) {
    const [ref = ""] = link.split(":");
    const other = table.get(ref);
    if (!other.isRunning) {
      throw new InroError("conflict", `cannot link to a non running container: /${other.record.name}`);
    }
  }
}
