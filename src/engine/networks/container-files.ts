import { HOST_GATEWAY, parseExtraHost } from "../config/hosts.ts";
import type { ContainerRecord, StateRecord } from "../store.ts";

/** Text of the files that tell a container about its networks: pure. */

const LOCAL_HOSTS = `127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
`;

/** /etc/hosts. `names` are the container's own; without an address of its own it is found at 127.0.1.1. */
export function hostsFile(
  names: readonly string[],
  host: ContainerRecord["host"],
  network: StateRecord["network"],
  gateway: string | undefined,
  links: readonly { address: string; names: readonly string[] }[] = [],
): string {
  const own = (network?.endpoints ?? []).flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6].filter((one) => one !== undefined));
  const addresses = network ? own : ["127.0.1.1"];
  return [
    LOCAL_HOSTS,
    extraHosts(host, gateway),
    ...links.map(({ address, names: linked }) => `${address}\t${linked.join(" ")}\n`),
    ...addresses.map((address) => `${address}\t${names.join(" ")}\n`),
  ].join("");
}

/** `--add-host`; what stands for the host's address is left out where there is none. */
export function extraHosts(host: ContainerRecord["host"], gateway: string | undefined): string {
  return (host.ExtraHosts ?? [])
    .map(parseExtraHost)
    .flatMap(({ name, address }) => {
      const found = address === HOST_GATEWAY ? gateway : address;
      return found ? [`${found}\t${name}\n`] : [];
    })
    .join("");
}

/** Servers of a machine that is its own, whose address means the container itself in a container. */
const LOOPBACK = /^(127\.|::1$|0\.0\.0\.0$|::$)/;

/**
 * /etc/resolv.conf: what the container asks for, else the host's, without servers that only the host can reach. `reachable`:
 * it can reach those as well (it has the host's network).
 */
export function resolvFile(host: ContainerRecord["host"], hostFile: string, reachable: boolean): string {
  const { Dns, DnsSearch, DnsOptions } = host;
  if (reachable && !Dns?.length && !DnsSearch?.length && !DnsOptions?.length) return hostFile;
  const words = hostFile.split("\n").map((line) =>
    line
      .replace(/[#;].*/, "")
      .trim()
      .split(/\s+/),
  );
  const of = (keyword: string) => words.filter(([first]) => first === keyword).map(([, ...rest]) => rest);
  const given = of("nameserver").flatMap(([address]) =>
    address && (reachable || !LOOPBACK.test(address)) ? [address] : [],
  );
  const servers = Dns?.length ? Dns : given;
  const search = DnsSearch?.length ? DnsSearch : (of("search").at(-1) ?? of("domain").at(-1) ?? []);
  const options = DnsOptions?.length ? DnsOptions : of("options").flat();
  return [
    ...servers.map((server) => `nameserver ${server}\n`),
    // "." is docker's word for none.
    ...(search.length > 0 && !(search.length === 1 && search[0] === ".") ? [`search ${search.join(" ")}\n`] : []),
    ...(options.length > 0 ? [`options ${options.join(" ")}\n`] : []),
  ].join("");
}
