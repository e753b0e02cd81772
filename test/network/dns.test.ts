import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as packet from "dns-packet";
import { inNetworkNamespace } from "../../src/linux/netlink/socket.ts";
import { hasBusybox, isRoot } from "../harness.ts";
import { eventually, labForTests, OUTSIDE } from "./lab.ts";

const why = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";
const SERVER = "127.0.0.11";

interface Heard {
  rcode: number;
  truncated: boolean;
  answers: string[];
}

/** What the name server at `address` says, asked from a network namespace. */
async function ask(from: number, name: string, type: packet.RecordType = "A", tcp = false): Promise<Heard> {
  const message = packet.encode({
    type: "query",
    id: 77,
    flags: packet.RECURSION_DESIRED,
    questions: [{ name, type }],
  });
  const bytes = await eventually(() => (tcp ? byTcp(from, message) : byUdp(from, message)));
  const { id, rcode, flag_tc, answers = [] } = packet.decode(bytes) as packet.DecodedPacket & { rcode: string };
  expect(id).toBe(77);
  return {
    rcode: ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN"].indexOf(rcode),
    truncated: flag_tc,
    answers: answers.map((one) => String((one as { data: unknown }).data)),
  };
}

const PATIENCE_MS = 3000;

async function byUdp(from: number, message: Buffer): Promise<Buffer | undefined> {
  const { promise, resolve } = Promise.withResolvers<Buffer | undefined>();
  const socket = await inNetworkNamespace(from, () =>
    Bun.udpSocket({ socket: { data: (_: unknown, data: Buffer) => resolve(Buffer.from(data)) } } as never),
  );
  const timer = setTimeout(() => resolve(undefined), PATIENCE_MS);
  try {
    (socket as unknown as Bun.udp.Socket<"buffer">).send(message, 53, SERVER);
    return await promise;
  } finally {
    clearTimeout(timer);
    socket.close();
  }
}

async function byTcp(from: number, message: Buffer): Promise<Buffer | undefined> {
  const { promise, resolve } = Promise.withResolvers<Buffer | undefined>();
  let received = Buffer.alloc(0);
  const connection = inNetworkNamespace(from, () =>
    Bun.connect({
      hostname: SERVER,
      port: 53,
      socket: {
        open: (socket) => void socket.write(Buffer.concat([Buffer.from([0, message.length]), message])),
        data: (_, data) => {
          received = Buffer.concat([received, data]);
          if (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) resolve(received.subarray(2));
        },
        close: () => resolve(undefined),
        connectError: () => resolve(undefined),
      },
    }),
  );
  try {
    return await promise;
  } finally {
    (await connection).end();
  }
}

describe.skipIf(why !== "")(`names${why && ` (${why})`}`, () => {
  const lab = labForTests();
  const { engine } = lab;
  /** Questions that the world's name server was asked. */
  const heard: string[] = [];
  let world: Bun.udp.Socket<"buffer">;
  let worldByTcp: Bun.TCPSocketListener<undefined>;

  /** The world knows every name below `example`; that of `many` has more addresses than a packet holds. */
  const worldly = (data: Buffer, tcp: boolean): Buffer => {
    const { id, questions } = packet.decode(data);
    const [{ name, type } = { name: "", type: "A" as const }] = questions ?? [];
    heard.push(`${name.toLowerCase()} ${type}`);
    const known = name.toLowerCase().endsWith(".example");
    const count = !known || type !== "A" ? 0 : name.startsWith("many.") ? 100 : 1;
    const answers = Array.from({ length: count }, (_, i) => ({
      type: "A" as const,
      name,
      ttl: 60,
      data: `192.0.2.${i + 1}`,
    }));
    const whole = { type: "response" as const, id: id ?? 0, questions: questions ?? [] };
    const cut = !tcp && count > 10;
    const flags = (known ? 0 : 3) | (cut ? packet.TRUNCATED_RESPONSE : 0);
    return packet.encode({ ...whole, flags, answers: cut ? [] : answers });
  };

  beforeAll(async () => {
    if (why) return;
    world = (await inNetworkNamespace(lab.outside.fd, () =>
      Bun.udpSocket({
        hostname: OUTSIDE[4],
        port: 53,
        socket: {
          data: (socket: Bun.udp.Socket<"buffer">, data: Buffer, port: number, address: string) =>
            void socket.send(worldly(data, false), port, address),
        },
      } as never),
    )) as unknown as Bun.udp.Socket<"buffer">;
    worldByTcp = inNetworkNamespace(lab.outside.fd, () =>
      Bun.listen({
        hostname: OUTSIDE[4],
        port: 53,
        socket: {
          data: (socket, data) => {
            const answer = worldly(data.subarray(2), true);
            socket.write(Buffer.concat([Buffer.from([answer.length >> 8, answer.length & 255]), answer]));
          },
        },
      }),
    );
    await engine.ok("network", "create", "--ipv6", "app");
    await engine.ok("network", "create", "other");
    await engine.ok("network", "create", "--internal", "inside");
  });
  afterAll(() => {
    world?.close();
    worldByTcp?.stop(true);
  });

  test("names, aliases, short ids, networks behind them; A, AAAA, PTR; upper case; the others are nobody's", async () => {
    await lab.run("client", "--network", "app", "--dns", OUTSIDE[4]);
    await lab.run("web", "--network", "app", "--network-alias", "www", "--network-alias", "shared");
    await lab.run("api", "--network", "app", "--network-alias", "shared");
    await lab.run("apart", "--network", "other");
    await lab.run("plain");
    const client = await lab.inside("client");
    const web = await lab.address("web", "app");
    const id = (await lab.inspect("web")).Id;
    for (const name of ["web", "WEB", "www", "web.app", "www.app", id.slice(0, 12)]) {
      expect([name, await ask(client, name)]).toEqual([name, { rcode: 0, truncated: false, answers: [web] }]);
    }
    expect((await ask(client, "web", "A", true)).answers).toEqual([web]);
    expect((await ask(client, "web", "AAAA")).answers).toEqual([await lab.address("web", "app", 6)]);
    expect(await ask(client, "web", "MX")).toEqual({ rcode: 0, truncated: false, answers: [] });
    const reverse = `${web.split(".").reverse().join(".")}.in-addr.arpa`;
    expect((await ask(client, reverse, "PTR")).answers).toEqual(["web.app"]);
    // Each of two in its turn is the first.
    const both = [web, await lab.address("api", "app")];
    const first = new Set<string>();
    for (let i = 0; i < 4; i++) {
      const { answers } = await ask(client, "shared");
      expect(answers.toSorted()).toEqual(both.toSorted());
      first.add(answers[0]!);
    }
    expect(first.size).toBe(2);
    for (const name of ["apart", "apart.other", "plain", "nobody"]) {
      expect([name, (await ask(client, name)).rcode]).toEqual([name, 3]);
    }
    // No word of it to the world, but for what may be a name there.
    expect(heard.filter((question) => !question.startsWith("apart.other "))).toEqual([]);
    // Programs of the container find it by its resolv.conf, and may have port 53 themselves.
    expect(await engine.ok("exec", "client", "cat", "/etc/resolv.conf")).toContain(`nameserver ${SERVER}\n`);
    expect(await engine.ok("exec", "client", "nslookup", "web")).toContain(web);
    await engine.ok("exec", "-d", "client", "nc", "-l", "-p", "53");
    expect((await ask(client, "web", "A", true)).answers).toEqual([web]);
  });

  test("the world's names, once each; long answers by TCP", async () => {
    const client = await lab.inside("client");
    heard.length = 0;
    for (let i = 0; i < 3; i++) expect((await ask(client, "host.example")).answers).toEqual(["192.0.2.1"]);
    expect(heard).toEqual(["host.example A"]);
    expect(await ask(client, "not.there")).toMatchObject({ rcode: 3 });
    expect(await ask(client, "many.example")).toMatchObject({ truncated: true, answers: [] });
    expect((await ask(client, "many.example", "A", true)).answers).toHaveLength(100);
  });

  test("nothing leaves an internal network, and its names are known", async () => {
    await lab.run("hidden", "--network", "inside", "--dns", OUTSIDE[4]);
    await lab.run("near", "--network", "inside");
    const hidden = await lab.inside("hidden");
    heard.length = 0;
    expect((await ask(hidden, "near")).answers).toEqual([await lab.address("near", "inside")]);
    expect((await ask(hidden, "host.example")).rcode).toBe(2);
    expect(heard).toEqual([]);
  });

  test("who comes, goes, is renamed or connected is known at once", async () => {
    const client = await lab.inside("client");
    await lab.run("late", "--network", "other");
    expect((await ask(client, "late")).rcode).toBe(3);
    await engine.ok("network", "connect", "--alias", "later", "app", "late");
    const late = await lab.address("late", "app");
    for (const name of ["late", "later"]) expect((await ask(client, name)).answers).toEqual([late]);
    await engine.ok("rename", "late", "renamed");
    expect((await ask(client, "late")).rcode).toBe(3);
    expect((await ask(client, "renamed")).answers).toEqual([late]);
    await engine.ok("network", "disconnect", "app", "renamed");
    expect((await ask(client, "renamed")).rcode).toBe(3);
    await engine.ok("stop", "-t", "0", "web");
    expect((await ask(client, "web")).rcode).toBe(3);
    // From the default network into one with names.
    const plain = await lab.inside("plain");
    await engine.ok("network", "connect", "app", "plain");
    expect((await ask(plain, "api")).answers).toEqual([await lab.address("api", "app")]);
    expect(await engine.ok("exec", "plain", "cat", "/etc/resolv.conf")).toContain(`nameserver ${SERVER}\n`);
  });

  test("an engine that was killed: the next one answers", async () => {
    const client = await lab.inside("client");
    await engine.kill("SIGKILL");
    await engine.start();
    expect((await ask(client, "api")).answers).toEqual([await lab.address("api", "app")]);
    expect((await ask(client, "again.example")).answers).toEqual(["192.0.2.1"]);
  });
});
