/** A port of a container as the API lists it. */
export interface Port {
  IP?: string;
  PrivatePort: number;
  PublicPort?: number;
  Type: string;
}

/** `0.0.0.0:8080->80/tcp, 90-91/udp`: ports in order, neighbours that are published under their own number joined. */
export function portsText(ports: readonly Port[]): string {
  const groups = new Map<string, Group>();
  const joined: string[] = [];
  const mapped: string[] = [];
  for (const { IP = "", PrivatePort, PublicPort = 0, Type } of ports.toSorted(order)) {
    if (IP !== "" && PublicPort !== PrivatePort) {
      mapped.push(`${address(IP)}:${PublicPort}->${PrivatePort}/${Type}`);
      continue;
    }
    const key = `${IP} ${Type}`;
    const group = groups.get(key);
    if (group && PrivatePort === group.last + 1) group.last = PrivatePort;
    else {
      if (group) joined.push(groupText(group));
      groups.set(key, { ip: IP, type: Type, first: PrivatePort, last: PrivatePort });
    }
  }
  return [...joined, ...[...groups.values()].map(groupText), ...mapped].join(", ");
}

interface Group {
  ip: string;
  type: string;
  first: number;
  last: number;
}

function groupText({ ip, type, first, last }: Group): string {
  const range = first === last ? String(first) : `${first}-${last}`;
  return ip === "" ? `${range}/${type}` : `${address(ip)}:${range}->${range}/${type}`;
}

function order(a: Port, b: Port): number {
  const [x, y] = [a, b].map(({ IP = "", PublicPort = 0, ...one }) => ({ ...one, IP, PublicPort })) as [Full, Full];
  return x.PrivatePort - y.PrivatePort || compare(x.IP, y.IP) || x.PublicPort - y.PublicPort || compare(x.Type, y.Type);
}

type Full = Required<Port>;
const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
const address = (ip: string) => (ip.includes(":") ? `[${ip}]` : ip);
