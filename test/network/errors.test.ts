import { describe, expect, test } from "bun:test";
import { parseSubnet } from "../../src/network/address.ts";
import { ensureBridge } from "../../src/network/bridge.ts";
import { hasBusybox, isRoot, TestEngine } from "../harness.ts";
import { labForTests } from "./lab.ts";

const why = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";

describe.skipIf(why !== "")(`networks: what is refused, and what is said${why && ` (${why})`}`, () => {
  const lab = labForTests();
  const { engine } = lab;
  const create = (body: object) => engine.api("POST", "/networks/create", body);
  const config = (...Config: object[]) => ({ IPAM: { Config } });
  const refused = async (answer: Promise<Response>, status: number, message: string | RegExp) => {
    const { status: found } = await answer;
    const text = ((await (await answer).json()) as { message: string }).message;
    expect({ status: found, message: text }).toEqual({
      status,
      message: typeof message === "string" ? expect.stringContaining(message) : expect.stringMatching(message),
    });
  };

  test("creating", async () => {
    await engine.ok("network", "create", "--subnet", "10.20.0.0/16", "taken");
    const { stack } = engine.namespace!;
    const subnet = parseSubnet("10.30.0.0/16")!;
    const addresses = [{ address: { family: 4, value: subnet.base + 1n } as const, subnet }];
    const other = engine.onHost(() => ensureBridge(stack, { name: "other0", mark: "somebody's", addresses }));
    for (const [body, status, message] of [
      [{}, 400, "network name is required"],
      [{ Name: "a b" }, 400, "invalid network name"],
      [{ Name: "taken" }, 409, "network with name taken already exists"],
      [{ Name: "host" }, 403, "operation is not permitted on predefined host network"],
      [{ Name: "net", Driver: "weave" }, 404, 'could not find network driver "weave"'],
      [{ Name: "net", Driver: "host" }, 403, 'only one instance of "host" network is allowed'],
      [
        { Name: "net", ...config({ Subnet: "10.20.5.0/24" }) },
        403,
        "Pool overlaps with other one on this address space: 10.20.5.0/24 and 10.20.0.0/16 of network taken",
      ],
      [{ Name: "net", ...config({ Subnet: "10.30.5.0/24" }) }, 403, "10.30.0.0/16 of the route of other0"],
      [{ Name: "net", ...config({ Subnet: "10.40.0.0" }) }, 400, "invalid subnet"],
      [{ Name: "net", ...config({ Subnet: "10.40.0.1/24" }) }, 400, "it should be 10.40.0.0/24"],
      [
        { Name: "net", ...config({ Subnet: "10.40.0.0/24", Gateway: "10.41.0.1" }) },
        400,
        "no matching subnet for gateway",
      ],
      [{ Name: "net", ...config({ Subnet: "10.40.0.0/24", IPRange: "10.41.0.0/25" }) }, 400, "is not in subnet"],
      [{ Name: "net", ...config({ Subnet: "fd00:40::/64" }) }, 400, "IPv6 is not enabled"],
      [
        { Name: "net", Options: { "com.docker.network.bridge.name": "other0" } },
        409,
        "interface other0 exists already",
      ],
      [
        { Name: "net", Options: { "com.docker.network.bridge.name": "much-too-long-name" } },
        400,
        "invalid bridge name",
      ],
      [{ Name: "net", Options: { speed: "9" } }, 400, 'unknown option "speed"'],
      [{ Name: "net", Scope: "swarm" }, 400, "swarm"],
      [{ Name: "net", EnableIPv4: false }, 400, "IPv4 or IPv6 must be enabled"],
    ] as const) {
      await refused(create(body), status, message);
    }
    expect(await engine.ok("network", "ls", "-q", "--filter", "name=net")).toBe("");
    stack.deleteLink(other, "other0");
  });

  test("containers in them", async () => {
    await engine.ok("network", "create", "--subnet", "10.50.0.0/30", "small");
    const run = (...options: string[]) => engine.inro(["run", "-d", ...options, "busybox", "sleep", "99"]);
    for (const [options, message] of [
      [["--network", "nowhere"], "network nowhere not found"],
      [["--network", "small", "--ip", "10.51.0.2"], "no configured subnet contains IP address 10.51.0.2"],
      [["--network", "small", "--ip", "10.50.0.300"], "invalid IPv4 address: 10.50.0.300"],
      [["--ip", "172.17.0.9"], "supported only when connecting to networks with user configured subnets"],
      [["--network", "small", "--mac-address", "01:00:00:00:00:01"], "invalid MAC address"],
      [["--network", "container:nobody"], "No such container: nobody"],
    ] as const) {
      expect((await run(...options)).stderr).toContain(message);
    }
    expect((await run("--network", "small", "--name", "only")).code).toBe(0);
    expect((await run("--network", "small", "--ip", "10.50.0.2")).stderr).toContain(
      "address 10.50.0.2 of network small is already in use by container only",
    );
    expect((await run("--network", "small")).stderr).toContain(
      "no available IPv4 addresses on this network's address pools: small",
    );

    await refused(engine.api("DELETE", "/networks/small"), 403, 'network small has active endpoints (name:"only"');
    await refused(
      engine.api("DELETE", "/networks/bridge"),
      403,
      "bridge is a pre-defined network and cannot be removed",
    );
    await refused(engine.api("DELETE", "/networks/nowhere"), 404, "network nowhere not found");
    await refused(
      engine.api("POST", "/networks/small/connect", { Container: "only" }),
      403,
      "endpoint with name only already exists in network small",
    );
    await refused(
      engine.api("POST", "/networks/taken/disconnect", { Container: "only" }),
      403,
      "container only is not connected to network taken",
    );
    await refused(
      engine.api("POST", "/networks/taken/connect", { Container: "nobody" }),
      404,
      "No such container: nobody",
    );
    await refused(engine.api("POST", "/networks/taken/connect", {}), 400, "names no container");
    await refused(
      engine.api("GET", `/networks?filters=${encodeURIComponent('{"nope":["x"]}')}`),
      400,
      "invalid filter 'nope'",
    );
    await engine.ok("run", "-d", "--name", "hosted", "--network", "host", "busybox", "sleep", "99");
    await refused(
      engine.api("POST", "/networks/taken/connect", { Container: "hosted" }),
      403,
      "shares the host's network",
    );
    // What was refused has left no container that runs, and nothing in the kernel.
    expect(await engine.ok("ps", "--format", "{{.Names}}")).toBe("hosted\nonly");
    expect((await engine.inro(["system", "check"])).stdout).toBe("no leaks found\n");
  });

  test("macvlan; ipvlan where the kernel has none", async () => {
    await engine.ok(
      "network",
      "create",
      "-d",
      "macvlan",
      "-o",
      "parent=wire0",
      "--subnet",
      "198.51.100.0/24",
      "--gateway",
      "198.51.100.2",
      "lan",
    );
    await lab.serve(lab.outside.fd, 80);
    await lab.run("on-wire", "--network", "lan", "--ip", "198.51.100.77");
    const inside = await lab.inside("on-wire");
    expect(await lab.ask(inside, "tcp", "198.51.100.2", 80)).toBe("198.51.100.77");
    await lab.serve(inside, 81);
    expect(await lab.ask(lab.outside.fd, "udp", "198.51.100.77", 81)).toBe("198.51.100.2");
    await engine.ok("network", "create", "-d", "ipvlan", "-o", "parent=wire0", "--subnet", "198.51.100.0/24", "ip");
    const { code, stderr } = await engine.inro(["run", "--rm", "--network", "ip", "busybox", "true"]);
    if (code !== 0) expect(stderr).toMatch(/this kernel has no ipvlan|parent is in use in another way/);
    await engine.ok("network", "create", "-d", "macvlan", "-o", "parent=gone0", "--subnet", "10.60.0.0/24", "gone");
    expect((await engine.inro(["run", "--rm", "--network", "gone", "busybox", "true"])).stderr).toContain(
      "there is no interface gone0",
    );
  });
});

describe.skipIf(why !== "")(`a host on which somebody else has the default bridge's name${why && ` (${why})`}`, () => {
  if (why) return;
  test("the next one is taken", async () => {
    const engine = new TestEngine([], { networks: true });
    const { stack } = engine.namespace!;
    engine.onHost(() => ensureBridge(stack, { name: "inro0", mark: "another", addresses: [] }));
    await engine.start();
    try {
      await engine.busybox();
      expect(await engine.ok("run", "--rm", "busybox", "echo", "here")).toBe("here");
      expect(stack.links().map(({ name }) => name)).toEqual(expect.arrayContaining(["inro0", "inro1"]));
    } finally {
      const theirs = stack.link("inro0")!;
      stack.deleteLink(theirs.index, "inro0");
      await engine.stop();
    }
  });
});
