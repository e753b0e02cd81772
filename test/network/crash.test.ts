import { describe, expect, test } from "bun:test";
import { deleteTable, NftSocket } from "../../src/linux/netlink/nftables.ts";
import { hasBusybox, isRoot } from "../harness.ts";
import { random } from "../random.ts";
import { HOST, labForTests, OUTSIDE } from "./lab.ts";

const why = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";

describe.skipIf(why !== "")(`networks outlive their engine${why && ` (${why})`}`, () => {
  const lab = labForTests();
  const { engine } = lab;
  const findings = async (...options: string[]) =>
    JSON.parse((await engine.inro(["system", "check", "--json", ...options])).stdout) as {
      kind: string;
      problem: string;
    }[];

  test("kill -9: addresses, ports, names and packets stay; the ports stay taken", async () => {
    await engine.ok("network", "create", "--subnet", "10.80.0.0/24", "app");
    await lab.run("web", "--network", "app", "-p", "8080:80", "--network-alias", "www");
    await lab.run("ended", "--network", "app");
    await lab.serve(await lab.inside("web"), 80);
    const before = (await lab.inspect("web")).NetworkSettings;
    expect(await lab.ask(lab.outside.fd, "tcp", HOST[4], 8080)).toBe(OUTSIDE[4]);

    await engine.kill("SIGKILL");
    // Nobody is needed for packets.
    expect(await lab.ask(lab.outside.fd, "tcp", HOST[4], 8080)).toBe(OUTSIDE[4]);
    const table = lab.engine.onHost(() => new NftSocket());
    const [name] = table.tables("inet");
    table.transaction([deleteTable({ family: "inet", name: name! })]);
    table.close();
    await engine.start();
    expect((await lab.inspect("web")).NetworkSettings).toEqual(before);
    expect(await lab.ask(lab.outside.fd, "tcp", HOST[4], 8080)).toBe(OUTSIDE[4]);
    // Neither the address nor the port is given to anybody else.
    expect((await engine.inro(["run", "--rm", "-p", "8080:80", "busybox", "true"])).stderr).toContain(
      "container web has it",
    );
    const taken = await engine.inro([
      "run",
      "--rm",
      "--network",
      "app",
      "--ip",
      before.Networks.app!.IPAddress!,
      "busybox",
      "true",
    ]);
    expect(taken.stderr).toContain("is already in use by container web");
    expect(await findings()).toEqual([]);
  });

  test("a bridge deleted by hand, one that is nobody's, a port of nobody: found and mended", async () => {
    const { stack } = engine.namespace!;
    const bridge = stack.links().find(({ name }) => name.startsWith("br-"))!;
    stack.deleteLink(bridge.index, bridge.name);
    expect(await findings()).toEqual([
      expect.objectContaining({ kind: "interface", problem: expect.stringContaining("not in the bridge") }),
      expect.objectContaining({ problem: expect.stringContaining("not in the bridge") }),
    ]);
    await findings("--repair");
    expect(await findings()).toEqual([]);
    expect(await lab.ask(lab.outside.fd, "tcp", HOST[4], 8080)).toBe(OUTSIDE[4]);
  });

  test("all ended while no engine was there: nothing is left of their networks", async () => {
    await engine.kill("SIGKILL");
    await engine.start();
    lab.leave();
    await engine.ok("rm", "-f", "web", "ended");
    await engine.ok("network", "rm", "app");
    expect(await findings()).toEqual([]);
    expect(engine.namespace!.stack.links().filter(({ name }) => name.startsWith("br-"))).toEqual([]);
  });

  test("killed at any moment of starts and ends: nothing leaks, and what runs is reached", async () => {
    const next = random(Number(process.env.SEED ?? 7));
    await engine.ok("network", "create", "--internal", "inner");
    for (let round = 0; round < 5; round++) {
      const starts = Array.from({ length: 6 }, (_, i) =>
        engine.inro([
          "run",
          "-d",
          "--name",
          `r${round}-${i}`,
          "--network",
          i % 2 ? "inner" : "bridge",
          "busybox",
          "sleep",
          i % 3 ? "1000" : "0.1",
        ]),
      );
      await Bun.sleep(next() * 500);
      await engine.kill("SIGKILL");
      await Promise.all(starts);
      await engine.start();
      expect(await findings()).toEqual([]);
    }
    const names = (await engine.ok("ps", "--format", "{{.Names}}")).split("\n").filter(Boolean);
    const addresses = new Set<string>();
    for (const name of names) {
      const [network] = Object.keys((await lab.inspect(name)).NetworkSettings.Networks);
      const address = await lab.address(name, network!);
      addresses.add(`${network} ${address}`);
      await lab.serve(await lab.inside(name), 80);
      expect(await lab.ask(lab.host, "tcp", address, 80)).toBeTruthy();
    }
    expect(addresses.size).toBe(names.length);
  });
});
