import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as packet from "dns-packet";
import { deleteTable, NftSocket } from "../../src/linux/netlink/nftables.ts";
import { inNetworkNamespace } from "../../src/linux/netlink/socket.ts";
import type { NetworkNamespace } from "../../src/network/namespace.ts";
import { hasBusybox, isRoot } from "../harness.ts";
import { HOST, labForTests, OUTSIDE } from "./lab.ts";

const why = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";
/** A machine in a private network beside the host. */
const PRIVATE = { host: "10.77.0.1", own: "10.77.0.2" } as const;

describe.skipIf(why !== "")(`what containers may send beyond their networks${why && ` (${why})`}`, () => {
  const lab = labForTests();
  const { engine } = lab;
  let inside: NetworkNamespace;
  let world: Bun.udp.Socket<"buffer"> | undefined;
  const heard: string[] = [];
  /** What the world says of names. */
  const names: Record<string, string> = { "web.example": OUTSIDE[4], "trap.example": PRIVATE.own };

  beforeAll(async () => {
    if (why) return;
    inside = lab.neighbour(PRIVATE.host, PRIVATE.own);
    for (const port of [80, 81]) await lab.serve(lab.outside.fd, port);
    await lab.serve(inside.fd, 80);
    await lab.serve(lab.host, 82);
    world = (await inNetworkNamespace(lab.outside.fd, () =>
      Bun.udpSocket({
        hostname: OUTSIDE[4],
        port: 53,
        socket: {
          data: (socket: Bun.udp.Socket<"buffer">, data: Buffer, port: number, address: string) => {
            const { id = 0, questions = [] } = packet.decode(data);
            const { name, type } = questions[0]!;
            heard.push(name);
            const found = type === "A" ? names[name.toLowerCase()] : undefined;
            const answers = found ? [{ type: "A" as const, name, ttl: 60, data: found }] : [];
            socket.send(packet.encode({ type: "response", id, questions, flags: 0, answers }), port, address);
          },
        },
      } as never),
    )) as unknown as Bun.udp.Socket<"buffer">;
  });
  afterAll(() => world?.close());

  const tcp = async (from: number, address: string, port = 80) => await lab.reaches(from, "tcp", address, port);
  const denied = async (name: string) => {
    const { NetworkSettings } = await lab.inspect(name);
    return (NetworkSettings as unknown as { Egress: { Denied: { Packets: number } } }).Egress.Denied.Packets;
  };
  const resolve = (name: string, host: string) => engine.inro(["exec", name, "nslookup", "-type=a", host]);

  test("deny=private,metadata: the world is reached, what is denied and the host are not; neighbours are", async () => {
    await engine.ok("network", "create", "near");
    const one = await lab.inside(await lab.run("denier", "--network", "near", "--egress", "deny=private,metadata"));
    const other = await lab.inside(await lab.run("neighbour", "--network", "near"));
    for (const port of [80]) await lab.serve(other, port);
    expect(await tcp(one, OUTSIDE[4])).toBe(true);
    expect(await tcp(one, PRIVATE.own)).toBe(false);
    expect(await tcp(other, PRIVATE.own)).toBe(true);
    expect(await tcp(one, await lab.address("neighbour", "near"))).toBe(true);
    // The host by the gateway's address, which is a private one.
    const gateway = (await lab.inspect("denier")).NetworkSettings.Networks.near!.Gateway!;
    expect(await tcp(one, gateway, 82)).toBe(false);
    expect(await tcp(other, gateway, 82)).toBe(true);
    expect(await tcp(one, HOST[4], 82)).toBe(true);
    expect(await denied("denier")).toBeGreaterThan(0);
  });

  test("allow=ADDRESS:PORT: that alone; who asks from outside is answered", async () => {
    const one = await lab.inside(
      await lab.run(
        "allower",
        "-p",
        "0.0.0.0:8088:80",
        "--egress",
        `allow=${OUTSIDE[4]}:80`,
        "--egress",
        "deny=metadata",
      ),
    );
    await lab.serve(one, 80);
    expect(await tcp(one, OUTSIDE[4])).toBe(true);
    expect(await tcp(one, OUTSIDE[4], 81)).toBe(false);
    expect(await lab.reaches(one, "udp", OUTSIDE[4], 80)).toBe(true);
    expect(await lab.reaches(one, "udp", OUTSIDE[4], 81)).toBe(false);
    expect(await tcp(one, PRIVATE.own)).toBe(false);
    expect(await tcp(one, HOST[4], 82)).toBe(false);
    expect(await lab.ask(lab.outside.fd, "tcp", HOST[4], 8088)).toBe(OUTSIDE[4]);
  });

  test("allow=NAME:PORT: its addresses from the moment it resolves; no other name is asked for; no way around deny", async () => {
    const rules = ["--egress", "allow=web.example:80,trap.example", "--egress", "deny=private"];
    const one = await lab.inside(await lab.run("named", "--dns", OUTSIDE[4], ...rules));
    expect(await tcp(one, OUTSIDE[4])).toBe(false);
    expect((await resolve("named", "web.example")).stdout).toContain(OUTSIDE[4]);
    expect(await tcp(one, OUTSIDE[4])).toBe(true);
    expect(await tcp(one, OUTSIDE[4], 81)).toBe(false);
    // Who answers for a name that is allowed does not open what is denied.
    expect((await resolve("named", "trap.example")).stdout).toContain(PRIVATE.own);
    expect(await tcp(one, PRIVATE.own)).toBe(false);
    // A question is a message too.
    heard.length = 0;
    expect(await resolve("named", "secret.in.a.question.example")).not.toMatchObject({ code: 0 });
    expect(heard).toEqual([]);

    const nft = new NftSocket(lab.host);
    const table = { family: "inet", name: nft.tables("inet").find((name) => name.startsWith("inro-"))! } as const;
    nft.transaction([deleteTable(table)]);
    while (!nft.tables("inet").includes(table.name)) await Bun.sleep(5);
    nft.close();
    expect(await tcp(one, OUTSIDE[4], 81)).toBe(false);
    expect(await tcp(one, OUTSIDE[4])).toBe(true);
    await engine.kill();
    await engine.start();
    expect(await tcp(one, OUTSIDE[4], 81)).toBe(false);
    expect(await tcp(one, OUTSIDE[4])).toBe(true);
    expect(await tcp(one, PRIVATE.own)).toBe(false);
  });

  test("what is denied is counted, and told of: in the log and as an event", async () => {
    const one = await lab.inside(await lab.run("told", "--egress", "deny=198.51.100.0/24"));
    const events = await engine.api(
      "GET",
      `/events?filters=${JSON.stringify({ event: ["egress_denied"], container: ["told"] })}`,
    );
    const reader = events.body!.getReader();
    expect(await tcp(one, OUTSIDE[4], 81)).toBe(false);
    const event = JSON.parse(
      Buffer.from((await reader.read()).value!)
        .toString()
        .split("\n")[0]!,
    );
    await reader.cancel();
    expect(event).toMatchObject({
      Type: "container",
      Action: "egress_denied",
      Actor: { Attributes: { name: "told", destination: `${OUTSIDE[4]}:81`, protocol: "tcp" } },
    });
    expect(engine.log).toContain(`container told: egress to ${OUTSIDE[4]}:81 (tcp) denied`);
    expect(await denied("told")).toBeGreaterThan(0);
  });

  test("IPv6; networks that come and go while it runs", async () => {
    await engine.ok("network", "create", "--ipv6", "--subnet", "fd00:77::/64", "six");
    const one = await lab.inside(await lab.run("mover", "--egress", "deny=2001:db8:51::2,198.51.100.2"));
    expect(await tcp(one, OUTSIDE[4])).toBe(false);
    await engine.ok("network", "connect", "six", "mover");
    for (const address of [OUTSIDE[4], OUTSIDE[6]]) expect(await tcp(one, address)).toBe(false);
    await engine.ok("network", "disconnect", "bridge", "mover");
    for (const address of [OUTSIDE[4], OUTSIDE[6]]) expect(await tcp(one, address)).toBe(false);
    const free = await lab.inside(await lab.run("free", "--network", "six"));
    expect(await tcp(free, OUTSIDE[6])).toBe(true);
  });

  test("a label says the same for clients that know no such field", async () => {
    const created = await engine.api("POST", "/containers/create?name=labelled", {
      Image: "busybox",
      Cmd: ["sleep", "1000"],
      Labels: { "inro.egress": "deny=198.51.100.0/24 deny=metadata" },
    });
    expect(created.status).toBe(201);
    await engine.ok("start", "labelled");
    expect((await lab.inspect("labelled")).HostConfig.Egress).toEqual(["deny=198.51.100.0/24", "deny=metadata"]);
    expect(await tcp(await lab.inside("labelled"), OUTSIDE[4])).toBe(false);
  });

  test("what is refused leaves nothing", async () => {
    const run = async (...options: string[]) => {
      const { code, stderr } = await engine.inro(["run", "--rm", ...options, "busybox", "true"]);
      return `${code} ${stderr}`;
    };
    expect(await run("--egress", "allow")).toMatch(/^125 .*egress "allow": a rule is allow=TARGET or deny=TARGET/s);
    expect(await run("--network", "host", "--egress", "deny=all")).toMatch(/^125 .*conflict with network mode host/s);
    await engine.ok("network", "create", "-d", "macvlan", "-o", "parent=wire0", "--subnet", "198.51.100.0/24", "outer");
    expect(await run("--network", "outer", "--egress", "deny=all")).toMatch(/^125 .*driver bridge, not macvlan/s);
  });

  test("nothing of ended containers stays in the table", async () => {
    lab.leave();
    const ids = (await engine.ok("ps", "-aq")).split("\n").filter(Boolean);
    await engine.ok("rm", "-f", ...ids);
    await engine.ok("network", "prune", "-f");
    expect(await engine.ok("system", "check")).toBe("no leaks found");
  });
});
