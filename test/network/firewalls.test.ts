import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { bitwise, CT_STATE, compare, ct, meta, register, verdict } from "../../src/linux/netlink/nft-expressions.ts";
import { NftSocket, newChain, newRule, newTable } from "../../src/linux/netlink/nftables.ts";
import { hasBusybox, isRoot } from "../harness.ts";
import { HOST, labForTests, OUTSIDE } from "./lab.ts";

const why = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";
const R = register(0);
const IPTABLES = "/usr/sbin/iptables-nft";

describe.skipIf(why !== "")(`beside other firewalls${why && ` (${why})`}`, () => {
  const lab = labForTests([]);
  const { engine } = lab;

  test("a host that drops its INPUT: a port that names no address is closed to the network, open to the host", async () => {
    const table = { family: "inet", name: "filter" } as const;
    const nft = new NftSocket(lab.host);
    const words = (value: number) => Buffer.from(Uint32Array.of(value).buffer);
    nft.transaction([
      newTable(table),
      newChain(table, { name: "input", base: { type: "filter", hook: "input", priority: 0 } }),
      newRule(table, "input", [
        ct("state", R),
        bitwise(R, R, words(CT_STATE.established)),
        compare(R, "!=", words(0)),
        verdict("accept"),
      ]),
      newRule(table, "input", [
        meta("iifname", R),
        compare(R, "==", Buffer.from("wire0".padEnd(16, "\0"))),
        verdict("drop"),
      ]),
    ]);
    nft.close();
    await lab.run("web", "-p", "8080:80");
    await lab.serve(await lab.inside("web"), 80);
    expect(await lab.ask(lab.host, "tcp", "127.0.0.1", 8080)).toBe("172.17.0.1");
    for (const protocol of ["tcp", "udp"] as const) {
      expect(await lab.reaches(lab.outside.fd, protocol, HOST[4], 8080)).toBe(false);
    }
  });

  for (const [name, path] of [
    ["iptables-nft", "/usr/sbin/iptables-nft"],
    ["iptables-legacy", "/usr/sbin/iptables-legacy"],
  ] as const) {
    test.skipIf(!existsSync(path))(`${name}: each leaves the other's rules alone`, async () => {
      const iptables = (...args: string[]) => {
        const { exitCode, stdout, stderr } = engine.onHost(() => Bun.spawnSync([path, ...args]));
        expect({ exitCode, stderr: String(stderr).replaceAll(/^#.*\n/gm, "") }).toEqual({ exitCode: 0, stderr: "" });
        return String(stdout);
      };
      iptables("-A", "FORWARD", "-p", "tcp", "--dport", "6666", "-j", "DROP");
      iptables("-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "7777", "-j", "DNAT", "--to", "192.0.2.1");
      const before = [iptables("-S"), iptables("-t", "nat", "-S")];
      await lab.run(`beside-${name}`, "-p", "0.0.0.0::80");
      await lab.serve(await lab.inside(`beside-${name}`), 80);
      const port = Number((await engine.ok("port", `beside-${name}`, "80")).split(":")[1]);
      expect(await lab.ask(lab.outside.fd, "tcp", HOST[4], port)).toBe(OUTSIDE[4]);
      expect([iptables("-S"), iptables("-t", "nat", "-S")]).toEqual(before);
      iptables("-F");
      iptables("-t", "nat", "-F");
      expect(await lab.ask(lab.outside.fd, "tcp", HOST[4], port)).toBe(OUTSIDE[4]);
    });
  }

  test.skipIf(!existsSync(IPTABLES))(
    "a FORWARD chain that drops: who makes a network is told, and what to do about it helps",
    async () => {
      const iptables = (...args: string[]) => engine.onHost(() => Bun.spawnSync([IPTABLES, ...args]));
      iptables("-P", "FORWARD", "DROP");
      const { stderr } = await engine.inro(["network", "create", "warned"]);
      expect(stderr).toContain("chain ip filter FORWARD of another firewall drops what is forwarded");
      await lab.run("kept-in", "--network", "warned");
      await lab.serve(lab.outside.fd, 75);
      expect(await lab.reaches(await lab.inside("kept-in"), "tcp", OUTSIDE[4], 75)).toBe(false);
      const [, bridge = ""] = /iifname (\S+) accept/.exec(stderr) ?? [];
      iptables("-I", "FORWARD", "-i", bridge, "-j", "ACCEPT");
      iptables("-I", "FORWARD", "-o", bridge, "-j", "ACCEPT");
      expect(await lab.ask(await lab.inside("kept-in"), "tcp", OUTSIDE[4], 75)).toBe(HOST[4]);
      iptables("-P", "FORWARD", "ACCEPT");
      iptables("-F", "FORWARD");
    },
  );

  test("the host does not become a router for others because containers need one", async () => {
    // What the neighbour sends to another network by way of the host, and not for a container.
    await lab.run("any");
    const { stdout } = engine.onHost(() => Bun.spawnSync(["cat", "/proc/sys/net/ipv4/ip_forward"]));
    expect(String(stdout)).toBe("1\n");
    const second = lab.neighbour("198.18.0.1", "198.18.0.2");
    await lab.serve(second.fd, 70);
    expect(await lab.ask(lab.host, "tcp", "198.18.0.2", 70)).toBe("198.18.0.1");
    expect(await lab.reaches(lab.outside.fd, "tcp", "198.18.0.2", 70)).toBe(false);
    expect(await lab.ask(await lab.inside("any"), "tcp", "198.18.0.2", 70)).toBe("198.18.0.1");
  });
});
