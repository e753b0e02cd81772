import { invalid } from "../base/errors.ts";
import { contains, type IpAddress, parseAddress, parseSubnet, type Subnet } from "./address.ts";

/** Addresses with the ports that are meant, from and to; all of them where absent. */
export interface EgressRange {
  subnet: Subnet;
  ports?: readonly [from: number, to: number];
}

/** A host by its name: exact, or all below it (`*.example.com`). In lower case. */
export interface EgressName {
  name: string;
  below: boolean;
  port?: number;
}

/** What a container may send beyond its own networks. What it answers is not its to decide. */
export interface EgressPolicy {
  /** Before everything that is denied. */
  allow: readonly EgressRange[];
  deny: readonly EgressRange[];
  /** Their addresses are learned from answers, and are no way around `deny`. */
  names: readonly EgressName[];
  /** What is not allowed is denied: as soon as anything is allowed. */
  closed: boolean;
}

const subnets = (text: string): Subnet[] => text.split(" ").map((one) => parseSubnet(one)!);

/** Words for addresses: those of no public host (RFC 1918, 6598, 3927, 4193, 4291), and the clouds' own services. */
const WORDS: Readonly<Record<string, readonly Subnet[]>> = {
  all: subnets("0.0.0.0/0 ::/0"),
  private: subnets(
    "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 169.254.0.0/16 127.0.0.0/8 fc00::/7 fe80::/10",
  ),
  // AWS, Azure, Google and most others; AWS over IPv6; Alibaba; Oracle; Azure's platform.
  metadata: subnets(
    "169.254.169.254/32 169.254.170.2/32 fd00:ec2::254/128 100.100.100.200/32 192.0.0.192/32 168.63.129.16/32",
  ),
};

const MOST_RULES = 200;
const NAME = /^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.?$/i;

/**
 * Rules as users write them: `allow=TARGET,…` and `deny=TARGET,…`, where a target is an address, a subnet, one of the words
 * `private`, `metadata` and `all`, or, to be allowed, a host's name or `*.NAME`; each with `:PORT` or, but for names,
 * `:FROM-TO` behind it (IPv6 in brackets then). Throws invalid.
 */
export function parseEgress(rules: readonly string[]): EgressPolicy {
  const [allow, deny, names]: [EgressRange[], EgressRange[], EgressName[]] = [[], [], []];
  let count = 0;
  for (const rule of rules) {
    const match = /^(allow|deny)=(.+)$/.exec(rule);
    if (!match) throw wrong(rule, "a rule is allow=TARGET or deny=TARGET");
    for (const target of match[2]!.split(",")) {
      if (++count > MOST_RULES) throw invalid(`egress: more than ${MOST_RULES} targets`);
      const { host, ports } = splitPorts(target, rule);
      const found = Object.hasOwn(WORDS, host) ? WORDS[host]! : rangesOf(host);
      if (found) {
        const list = match[1] === "allow" ? allow : deny;
        list.push(...found.map((subnet) => (ports ? { subnet, ports } : { subnet })));
      } else names.push(nameOf(host, ports, match[1]!, rule));
    }
  }
  return { allow, deny, names, closed: allow.length > 0 || names.length > 0 };
}

function splitPorts(target: string, rule: string): { host: string; ports?: readonly [number, number] } {
  const match = /^\[([^\]]+)\](?::(.+))?$/.exec(target) ?? /^([^:]+)(?::([^:]+))?$/.exec(target);
  if (!match) return { host: target };
  const [, host = "", text] = match;
  if (text === undefined) return { host };
  const range = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const [from, to] = [Number(range?.[1]), Number(range?.[2] ?? range?.[1])];
  if (!range || from < 1 || to > 65535 || to < from) throw wrong(rule, `${JSON.stringify(text)} is no port`);
  return { host, ports: [from, to] };
}

function rangesOf(text: string): Subnet[] | undefined {
  const subnet = parseSubnet(text);
  if (subnet) return [subnet];
  const address = parseAddress(text);
  return address && [{ family: address.family, base: address.value, prefix: address.family === 4 ? 32 : 128 }];
}

function nameOf(host: string, ports: readonly [number, number] | undefined, action: string, rule: string): EgressName {
  if (!NAME.test(host) || host.length > 253 || /^[\d.]+(\/\d*)?$/.test(host)) {
    throw wrong(rule, `${JSON.stringify(host.slice(0, 100))} is no address, subnet, name, private, metadata or all`);
  }
  if (action === "deny") throw wrong(rule, "a name cannot be denied, since its addresses are reached without it");
  if (ports && ports[0] !== ports[1]) throw wrong(rule, "a name has one port, not a range of them");
  const below = host.startsWith("*.");
  const name = (below ? host.slice(2) : host).replace(/\.$/, "").toLowerCase();
  return { name, below, ...(ports ? { port: ports[0] } : {}) };
}

const wrong = (rule: string, why: string) => invalid(`egress ${JSON.stringify(rule.slice(0, 200))}: ${why}`);

/** Which of a policy's names a question is about. */
export function matching(policy: EgressPolicy, question: string): EgressName[] {
  const asked = question.replace(/\.$/, "").toLowerCase();
  return policy.names.filter(({ name, below }) => (below ? asked.endsWith(`.${name}`) : asked === name));
}

/** Whether an address may be learned from an answer: who answers for a name must not open what is denied. */
export function mayLearn(policy: EgressPolicy, address: IpAddress): boolean {
  return ![...policy.deny.map(({ subnet }) => subnet), ...WORDS.metadata!, LOOPBACK4, LOOPBACK6].some((subnet) =>
    contains(subnet, address),
  );
}

const LOOPBACK4 = parseSubnet("127.0.0.0/8")!;
const LOOPBACK6 = parseSubnet("::1/128")!;
