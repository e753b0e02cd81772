import { describe, expect, test } from "bun:test";
import { inNetworkNamespace } from "../../src/linux/netlink/socket.ts";
import { hasBusybox, isRoot } from "../harness.ts";
import { HOST, labForTests, OUTSIDE } from "./lab.ts";

const why = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";
const PROTOCOLS = ["tcp", "udp"] as const;
const FAMILIES = [4, 6] as const;

describe.skipIf(why !== "")(`who reaches whom${why && ` (${why})`}`, () => {
  const lab = labForTests();

  test("networks, host and outside; tcp and udp; both families", async () => {
    await lab.engine.ok("network", "create", "--ipv6", "one");
    await lab.engine.ok("network", "create", "--ipv6", "two");
    await lab.engine.ok("network", "create", "--ipv6", "--internal", "closed");
    const places: [string, string][] = [
      ["c-a", "one"],
      ["c-b", "one"],
      ["c-c", "two"],
      ["c-d", "closed"],
      ["c-e", "closed"],
    ];
    for (const [name, network] of places) await lab.run(name, "--network", network);
    for (const [name] of places) await lab.serve(await lab.inside(name), 80);
    await lab.serve(lab.host, 80);
    await lab.serve(lab.outside.fd, 80);

    for (const family of FAMILIES) {
      const addresses: Record<string, string> = { host: HOST[family], outside: OUTSIDE[family] };
      for (const [name, network] of places) addresses[name] = await lab.address(name, network, family);
      const from: Record<string, number> = { host: lab.host, outside: lab.outside.fd };
      for (const [name] of places) from[name] = await lab.inside(name);
      for (const protocol of PROTOCOLS) {
        // Whoever is reached by anybody serves: what does not arrive is lost on the way.
        const reached: Record<string, string> = {};
        const ask = async (source: string) => {
          const targets = Object.keys(addresses).filter((target) => target !== source);
          const answers = await Promise.all(
            targets.map((target) => lab.reaches(from[source]!, protocol, addresses[target]!, 80)),
          );
          reached[source] = targets.filter((_, i) => answers[i]).join(" ");
        };
        await Promise.all(Object.keys(from).map(ask));
        expect<object>({ family, protocol, ...reached }).toEqual({
          family,
          protocol,
          host: "outside c-a c-b c-c c-d c-e",
          outside: "host",
          "c-a": "host outside c-b",
          "c-b": "host outside c-a",
          "c-c": "host outside",
          "c-d": "c-e",
          "c-e": "c-d",
        });
      }
    }
  });

  test("a container in several networks; in and out while it runs", async () => {
    await lab.engine.ok("network", "create", "--subnet", "10.77.0.0/24", "left");
    await lab.engine.ok("network", "create", "--subnet", "10.78.0.0/24", "right");
    await lab.run("l1", "--network", "name=left,ip=10.77.0.9,mac-address=02:00:00:00:00:99");
    await lab.run("r1", "--network", "right");
    await lab.run("both", "--network", "name=left,gw-priority=1", "--network", "name=right,ip=10.78.0.50");
    for (const name of ["l1", "r1", "both"]) await lab.serve(await lab.inside(name), 81);
    const [l, r] = [await lab.inside("l1"), await lab.inside("r1")];
    expect(await lab.ask(l, "tcp", await lab.address("both", "left"), 81)).toBe("10.77.0.9");
    expect(await lab.ask(r, "tcp", "10.78.0.50", 81)).toBe(await lab.address("r1", "right"));
    expect((await lab.inspect("l1")).NetworkSettings.Networks.left).toMatchObject({
      IPAddress: "10.77.0.9",
      MacAddress: "02:00:00:00:00:99",
      Gateway: "10.77.0.1",
      IPPrefixLen: 24,
    });
    expect(await lab.engine.ok("exec", "both", "ip", "-o", "route", "show", "default")).toContain("10.77.0.1");

    expect(await lab.reaches(l, "tcp", await lab.address("r1", "right"), 81)).toBe(false);
    await lab.engine.ok("network", "connect", "--ip", "10.78.0.60", "right", "l1");
    expect(await lab.ask(l, "tcp", await lab.address("r1", "right"), 81)).toBe("10.78.0.60");
    expect(await lab.engine.ok("exec", "l1", "cat", "/etc/hosts")).toContain("10.78.0.60\t");
    await lab.engine.ok("network", "disconnect", "left", "l1");
    expect(await lab.engine.ok("exec", "l1", "ip", "-o", "link")).not.toContain("eth0");
    // The other network is the way out now.
    expect(await lab.engine.ok("exec", "l1", "ip", "-o", "route", "show", "default")).toContain("10.78.0.1");
    expect(await lab.reaches(r, "tcp", "10.77.0.9", 81)).toBe(false);
    // The address is free again.
    await lab.run("next", "--network", "left", "--ip", "10.77.0.9");
  });

  test("none, host, another's", async () => {
    expect((await lab.engine.sh("ip -o addr | grep -v ' lo '", "--network", "none")).stdout).toBe("");
    expect((await lab.engine.sh("ip -o addr show wire0", "--network", "host")).stdout).toContain(HOST[4]);
    await lab.run("owner");
    const { stdout } = await lab.engine.sh("ip -o -4 addr show eth0", "--network", "container:owner");
    expect(stdout).toContain(await lab.address("owner", "bridge"));
  });

  test("published to IPv6, and at one address alone", async () => {
    await lab.engine.ok("network", "create", "--ipv6", "six");
    await lab.run("six", "--network", "six", "-p", "8600:86", "-p", "127.0.0.1:8601:86", "-p", `[${HOST[6]}]:8602:86`);
    await lab.serve(await lab.inside("six"), 86);
    expect(await lab.ask(lab.outside.fd, "tcp", HOST[6], 8600)).toBe(OUTSIDE[6]);
    expect(await lab.ask(lab.outside.fd, "tcp", HOST[4], 8600)).toBe(OUTSIDE[4]);
    expect(await lab.ask(lab.outside.fd, "tcp", HOST[6], 8602)).toBe(OUTSIDE[6]);
    expect(await lab.ask(lab.host, "tcp", "127.0.0.1", 8601)).toBe(
      (await lab.inspect("six")).NetworkSettings.Networks.six!.Gateway!,
    );
    // Refused, so that whoever tries localhost goes on to 127.0.0.1.
    const refused = inNetworkNamespace(lab.host, () =>
      Bun.connect({ hostname: "::1", port: 8600, socket: { data: () => undefined } }),
    );
    await expect(refused).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect(await lab.reaches(lab.outside.fd, "tcp", HOST[4], 8601)).toBe(false);
    expect(await lab.reaches(lab.outside.fd, "tcp", HOST[4], 8602)).toBe(false);
    expect(await lab.engine.ok("port", "six")).toBe(
      [
        "86/tcp -> 0.0.0.0:8600",
        "86/tcp -> 127.0.0.1:8601",
        "86/tcp -> [2001:db8:51::1]:8602",
        "86/tcp -> [::]:8600",
      ].join("\n"),
    );
  });

  test("gateway mode routed: at its own address, at published ports alone", async () => {
    await lab.engine.ok(
      "network",
      "create",
      "-o",
      "com.docker.network.bridge.gateway_mode_ipv4=routed",
      "--subnet",
      "10.79.0.0/24",
      "routed",
    );
    await lab.run("open", "--network", "routed", "-p", "90");
    for (const port of [90, 91]) await lab.serve(await lab.inside("open"), port);
    const address = await lab.address("open", "routed");
    expect(await lab.ask(lab.outside.fd, "tcp", address, 90)).toBe(OUTSIDE[4]);
    expect(await lab.reaches(lab.outside.fd, "tcp", address, 91)).toBe(false);
    await lab.serve(lab.outside.fd, 92);
    // Nothing is translated on the way out either.
    expect(await lab.ask(await lab.inside("open"), "tcp", OUTSIDE[4], 92)).toBe(address);
  });
});
