import { describe, expect, test } from "bun:test";
import { deleteTable, flushRules, NftSocket } from "../../src/linux/netlink/nftables.ts";
import { hasBusybox, isRoot } from "../harness.ts";
import { HOST, labForTests, OUTSIDE } from "./lab.ts";

const why = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";

describe.skipIf(why !== "")(`bridges${why && ` (${why})`}`, () => {
  const lab = labForTests();

  test("a published port: from outside, from the host, from localhost, from a container, from itself", async () => {
    await lab.run("web", "-p", "8080:80", "-p", "8080:80/udp");
    await lab.run("client");
    const [web, client] = [await lab.inside("web"), await lab.inside("client")];
    await lab.serve(web, 80);
    for (const protocol of ["tcp", "udp"] as const) {
      // The client's own address arrives.
      expect(await lab.ask(lab.outside.fd, protocol, HOST[4], 8080)).toBe(OUTSIDE[4]);
      expect(await lab.ask(lab.host, protocol, HOST[4], 8080)).toBe(HOST[4]);
      expect(await lab.ask(lab.host, protocol, "127.0.0.1", 8080)).toBe("172.17.0.1");
      expect(await lab.ask(client, protocol, HOST[4], 8080)).toBe("172.17.0.1");
      expect(await lab.ask(web, protocol, HOST[4], 8080)).toBe("172.17.0.1");
      // Directly.
      expect(await lab.ask(client, protocol, await lab.address("web", "bridge"), 80)).toBe(
        await lab.address("client", "bridge"),
      );
      expect(await lab.reaches(lab.outside.fd, protocol, await lab.address("web", "bridge"), 80)).toBe(false);
      // Out: by the host's address.
    }
    await lab.serve(lab.outside.fd, 99);
    for (const protocol of ["tcp", "udp"] as const)
      expect(await lab.ask(client, protocol, OUTSIDE[4], 99)).toBe(HOST[4]);
  });

  test("a table that somebody flushes comes back, and with it what it does", async () => {
    const table = { family: "inet", name: await tableName() } as const;
    const nft = new NftSocket(lab.host);
    const before = counts();
    expect(before).toMatchObject({ there: true, ports: 1 });
    nft.transaction([deleteTable(table)]);
    expect(await lab.ask(lab.outside.fd, "tcp", HOST[4], 8080)).toBe(OUTSIDE[4]);
    expect(counts()).toEqual(before);
    nft.transaction([flushRules(table)]);
    expect(await lab.ask(lab.outside.fd, "tcp", HOST[4], 8080)).toBe(OUTSIDE[4]);
    nft.close();

    function counts() {
      const there = nft.tables("inet").includes(table.name);
      const keys = nft.elements(table, "ports4").filter(({ key }) => key[0] === 6);
      return { there, ports: keys.length };
    }
    async function tableName() {
      const socket = new NftSocket(lab.host);
      const [name] = socket.tables("inet");
      socket.close();
      return name!;
    }
  });
});
