import { DNS_ADDRESS } from "../../network/dns/server.ts";
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
 * /etc/resolv.conf: what the container asks for, else the host's, without servers that only the host can reach. `reach`:
 * "all" is the host's network, "own" a name server of the container's, which asks the others itself.
 */
export function resolvFile(host: ContainerRecord["host"], hostFile: string, reach: "all" | "own" | "other"): string {
  const { Dns, DnsSearch, DnsOptions } = host;
  if (reach === "all" && !Dns?.length && !DnsSearch?.length && !DnsOptions?.length) return hostFile;
  const given = keyword(hostFile, "nameserver").flatMap(([address]) =>
    address && (reach === "all" || !LOOPBACK.test(address)) ? [address] : [],
  );
  const servers = reach === "own" ? [DNS_ADDRESS] : Dns?.length ? Dns : given;
  const search = DnsSearch?.length
    ? DnsSearch
    : (keyword(hostFile, "search").at(-1) ?? keyword(hostFile, "domain").at(-1) ?? []);
  const asked = DnsOptions?.length ? DnsOptions : keyword(hostFile, "options").flat();
  // A name of one label is asked as it is first: our server knows whether it is one of ours.
  const ndots = reach === "own" && !asked.some((option) => option.startsWith("ndots:")) ? ["ndots:0"] : [];
  const options = [...asked, ...ndots];
  return [
    ...servers.map((server) => `nameserver ${server}\n`),
    // "." is docker's word for none.
    ...(search.length > 0 && !(search.length === 1 && search[0] === ".") ? [`search ${search.join(" ")}\n`] : []),
    ...(options.length > 0 ? [`options ${options.join(" ")}\n`] : []),
  ].join("");
}

/** The name servers of a resolv.conf. */
export const hostServers = (file: string): string[] =>
  keyword(file, "nameserver").flatMap(([address]) => (address ? [address] : []));

/** What stands behind a keyword, by line (resolv.conf(5)). */
function keyword(file: string, wanted: string): string[][] {
  return file
    .split("\n")
    .map((line) =>
      line
        .replace(/[#;].*/, "")
        .trim()
        .split(/\s+/),
    )
    .filter(([first]) => first === wanted)
    .map(([, ...rest]) => rest);
}
