import { describe, expect, test } from "bun:test";
import { extraHosts, hostsFile, resolvFile } from "./container-files.ts";

const HOST = `# made by hand
nameserver 127.0.0.53
nameserver 192.0.2.53 # the router
nameserver ::1
search lan example.org
options ndots:2 edns0
`;

describe("resolv.conf", () => {
  test.each<[string, Parameters<typeof resolvFile>[0], "all" | "own" | "other", string]>([
    [
      "the host's, without what only the host reaches",
      {},
      "other",
      "nameserver 192.0.2.53\nsearch lan example.org\noptions ndots:2 edns0\n",
    ],
    ["with the host's network: the host's own", {}, "all", HOST],
    [
      "servers of its own",
      { Dns: ["1.1.1.1", "::1"] },
      "other",
      "nameserver 1.1.1.1\nnameserver ::1\nsearch lan example.org\noptions ndots:2 edns0\n",
    ],
    ["no search domain", { DnsSearch: ["."] }, "other", "nameserver 192.0.2.53\noptions ndots:2 edns0\n"],
    [
      "all",
      { Dns: ["9.9.9.9"], DnsSearch: ["a.b"], DnsOptions: ["rotate"] },
      "all",
      "nameserver 9.9.9.9\nsearch a.b\noptions rotate\n",
    ],
    [
      "a name server of its own",
      { Dns: ["9.9.9.9"] },
      "own",
      "nameserver 127.0.0.11\nsearch lan example.org\noptions ndots:2 edns0\n",
    ],
    [
      "and no options",
      { DnsOptions: ["rotate"] },
      "own",
      "nameserver 127.0.0.11\nsearch lan example.org\noptions rotate ndots:0\n",
    ],
  ])("%s", (_name, host, reach, expected) => expect(resolvFile(host, HOST, reach)).toBe(expected));
});

describe("hosts", () => {
  const endpoint = { id: "e", network: "n", interface: "eth0", mac: "" };
  const lines = (text: string) => text.trim().split("\n").slice(6);

  test("every address has the names", () => {
    const network = {
      endpoints: [
        { ...endpoint, ipv4: "10.0.0.2", ipv6: "fd00::2" },
        { ...endpoint, ipv4: "10.1.0.2" },
      ],
      ports: [],
    };
    expect(lines(hostsFile(["web.lan", "web"], {}, network, undefined))).toEqual([
      "10.0.0.2\tweb.lan web",
      "fd00::2\tweb.lan web",
      "10.1.0.2\tweb.lan web",
    ]);
    expect(lines(hostsFile(["web"], {}, undefined, undefined))).toEqual(["127.0.1.1\tweb"]);
  });

  test("added hosts, the host's address, links", () => {
    const host = { ExtraHosts: ["db:10.9.9.9", "six=[fd00::9]", "up:host-gateway"] };
    const links = [{ address: "10.0.0.7", names: ["cache", "c1"] }];
    expect(lines(hostsFile(["web"], host, { endpoints: [], ports: [] }, "10.0.0.1", links))).toEqual([
      "10.9.9.9\tdb",
      "fd00::9\tsix",
      "10.0.0.1\tup",
      "10.0.0.7\tcache c1",
    ]);
    expect(extraHosts(host, undefined)).toBe("10.9.9.9\tdb\nfd00::9\tsix\n");
  });
});
