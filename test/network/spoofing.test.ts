import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { sys, trySys } from "../../src/linux/call.ts";
import { addressOf, room, scratch } from "../../src/linux/ffi.ts";
import { close } from "../../src/linux/file.ts";
import { deleteTable, NftSocket } from "../../src/linux/netlink/nftables.ts";
import { inNetworkNamespace } from "../../src/linux/netlink/socket.ts";
import { POLLIN, poll } from "../../src/linux/poll.ts";
import { addressBytes, parseAddress } from "../../src/network/address.ts";
import { hasBusybox, isRoot } from "../harness.ts";
import { labForTests } from "./lab.ts";

const why = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";

const AF_PACKET = 17;
const SOCK_RAW = 3;
const ETH_P_ALL = 0x0300;
const EVERYBODY = "ff:ff:ff:ff:ff:ff";
/** What is not to come is waited for until something that is sent after it has come. */
const ARRIVES_MS = 5000;

const hex = (text: string) => Buffer.from(text.replaceAll(/[: ]/g, ""), "hex");
const ip = (text: string) => addressBytes(parseAddress(text)!);
const frame = (to: string, from: string, type: string, body: Buffer) =>
  Buffer.concat([hex(to), hex(from), hex(type), body]);

/** RFC 826: `operation` 1 asks, 2 answers. */
const arp = (operation: number, mac: string, address: string, targetMac: string, target: string) =>
  Buffer.concat([
    hex("0001 0800 06 04"),
    Buffer.from([0, operation]),
    hex(mac),
    ip(address),
    hex(targetMac),
    ip(target),
  ]);

function sum(bytes: Buffer, start = 0): number {
  let total = start;
  for (let i = 0; i < bytes.length; i += 2) total += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (total >> 16) total = (total & 0xffff) + (total >> 16);
  return total;
}

/** UDP over IPv4; a checksum of 0 is none. */
function udp4(from: string, to: string, ports: [number, number], payload: string): Buffer {
  const data = Buffer.from(payload);
  const udp = Buffer.alloc(8);
  [...ports, 8 + data.length, 0].forEach((value, i) => void udp.writeUInt16BE(value, i * 2));
  const header = Buffer.concat([hex("45 00 0000 0000 0000 40 11 0000"), ip(from), ip(to)]);
  header.writeUInt16BE(28 + data.length, 2);
  header.writeUInt16BE(~sum(header) & 0xffff, 10);
  return Buffer.concat([header, udp, data]);
}

function ipv6(from: string, to: string, next: number, body: Buffer): Buffer {
  const header = Buffer.concat([hex("60000000 0000"), Buffer.from([next, 255]), ip(from), ip(to)]);
  header.writeUInt16BE(body.length, 4);
  return Buffer.concat([header, body]);
}

function icmp6(from: string, to: string, type: number, body: Buffer): Buffer {
  const message = Buffer.concat([Buffer.from([type, 0, 0, 0]), body]);
  const pseudo = Buffer.concat([ip(from), ip(to), Buffer.from([0, 0, 0, message.length, 0, 0, 0, 58])]);
  message.writeUInt16BE(~sum(message, sum(pseudo)) & 0xffff, 2);
  return ipv6(from, to, 58, message);
}

/** A raw socket at an interface of a container: what CAP_NET_RAW gives. */
class Wire {
  readonly fd: number;
  constructor(namespace: number, name = "eth0") {
    this.fd = inNetworkNamespace(namespace, () => {
      const index = Number(indexes(name));
      const fd = sys("socket", name, AF_PACKET, SOCK_RAW, ETH_P_ALL);
      const address = Buffer.alloc(20);
      address.writeUInt16LE(AF_PACKET, 0);
      address.writeUInt16LE(ETH_P_ALL, 2);
      address.writeInt32LE(index, 4);
      sys("bind", name, fd, addressOf(address), 20);
      return fd;
    });
  }
  send(bytes: Buffer): void {
    sys("sendto", "frame", this.fd, addressOf(bytes), bytes.length, 0, 0, 0);
  }
  /** All that has come by until a frame with `last` in it, without its length. */
  until(last: string): Buffer[] {
    const frames: Buffer[] = [];
    const end = performance.now() + ARRIVES_MS;
    while (performance.now() < end) {
      if ((poll([[this.fd, POLLIN]], 100)[0]! & POLLIN) === 0) continue;
      const buffer = Buffer.alloc(2048);
      const n = trySys("recvfrom", this.fd, addressOf(buffer), buffer.length, 0, 0, 0);
      if (n > 0) frames.push(buffer.subarray(0, n));
      if (n > 0 && frames.at(-1)!.includes(last)) return frames;
    }
    throw new Error(`${last} has not come`);
  }
  close(): void {
    close(this.fd);
  }
}

/** SIOCGIFINDEX in this network namespace. */
function indexes(name: string): number {
  const fd = sys("socket", "", 2, 2, 0);
  try {
    return scratch(() => {
      const request = room(40);
      request.view.write(name, "latin1");
      sys("ioctl", name, fd, 0x8933, request.address);
      return request.view.readInt32LE(16);
    });
  } finally {
    close(fd);
  }
}

describe.skipIf(why !== "")(`who has CAP_NET_RAW speaks for itself alone${why && ` (${why})`}`, () => {
  const lab = labForTests([]);
  const { engine } = lab;
  const SUBNET6 = "fd00:5:5::/64";

  /** A thief, a victim and somebody that the victim talks to, in one network. */
  const scene = async (network: string, ...options: string[]) => {
    await engine.ok(
      "network",
      "create",
      "--ipv6",
      "--subnet",
      "10.55.0.0/24",
      "--subnet",
      SUBNET6,
      ...options,
      network,
    );
    const who = async (name: string) => {
      await lab.run(`${network}-${name}`, "--network", network);
      const endpoint = (await lab.inspect(`${network}-${name}`)).NetworkSettings.Networks[network]!;
      return { ...endpoint, inside: await lab.inside(`${network}-${name}`) };
    };
    const [thief, victim, other] = [await who("thief"), await who("victim"), await who("other")];
    const end = async () => {
      lab.leave();
      await engine.ok("rm", "-f", ...["thief", "victim", "other"].map((name) => `${network}-${name}`));
      await engine.ok("network", "rm", network);
    };
    return { thief, victim, other, end };
  };
  type Scene = Awaited<ReturnType<typeof scene>>;

  /** Frames of the thief, each with a word in it, that are not to reach the other. */
  const lies = ({ thief, victim, other }: Scene): [what: string, frame: Buffer][] => {
    const [mac, theirs, target] = [thief.MacAddress!, victim.MacAddress!, other.MacAddress!];
    const [own4, v4, o4] = [thief.IPAddress!, victim.IPAddress!, other.IPAddress!];
    const [own6, v6, o6] = [thief.GlobalIPv6Address!, victim.GlobalIPv6Address!, other.GlobalIPv6Address!];
    const all = "ff02::1";
    const option = (kind: number) => Buffer.concat([Buffer.from([kind, 1]), hex(mac)]);
    const said = (text: string) => frame(target, mac, "0800", udp4(v4, o4, [9, 9], text));
    return [
      ["another's IPv4 address", said("lie-ipv4")],
      ["another's MAC address", frame(target, theirs, "0800", udp4(own4, o4, [9, 9], "lie-mac"))],
      [
        "another's IPv6 address",
        frame(
          target,
          mac,
          "86dd",
          ipv6(v6, o6, 17, Buffer.concat([hex("00090009 0010 0000"), Buffer.from("lie-ipv6")])),
        ),
      ],
      [
        "an ARP answer for another",
        frame(target, mac, "0806", Buffer.concat([arp(2, mac, v4, target, o4), Buffer.from("lie-arp")])),
      ],
      [
        "an ARP question as another",
        frame(EVERYBODY, mac, "0806", Buffer.concat([arp(1, mac, v4, EVERYBODY, o4), Buffer.from("lie-ask")])),
      ],
      [
        "ARP with another's MAC address inside",
        frame(target, mac, "0806", Buffer.concat([arp(2, theirs, own4, target, o4), Buffer.from("lie-sha")])),
      ],
      [
        "a neighbour advertisement for another",
        frame(target, mac, "86dd", icmp6(own6, o6, 136, Buffer.concat([hex("60000000"), ip(v6), option(2)]))),
      ],
      [
        "a router advertisement",
        frame(
          "33:33:00:00:00:01",
          mac,
          "86dd",
          icmp6(own6, all, 134, Buffer.concat([hex("40 00 0708 00000000 00000000"), option(1)])),
        ),
      ],
      [
        "a redirect",
        frame(target, mac, "86dd", icmp6(own6, o6, 137, Buffer.concat([hex("00000000"), ip(own6), ip(v6)]))),
      ],
      ["a DHCP server's answer", frame(target, mac, "0800", udp4(own4, o4, [67, 68], "lie-dhcp"))],
      ["a VLAN's tag before a lie", frame(target, mac, "8100 0000 0800", udp4(v4, o4, [9, 9], "lie-vlan"))],
    ];
  };

  test("what is not its own does not arrive, one kind after the other; its own does", async () => {
    const people = await scene("guarded");
    const { thief, other } = people;
    const [from, to] = [new Wire(thief.inside), new Wire(other.inside)];
    const arrived = (what: string, lie: Buffer) => {
      from.send(lie);
      from.send(
        frame(
          other.MacAddress!,
          thief.MacAddress!,
          "0800",
          udp4(thief.IPAddress!, other.IPAddress!, [9, 9], `after ${what}`),
        ),
      );
      return to.until(`after ${what}`).some((bytes) => bytes.includes(lie.subarray(14, 60)));
    };
    try {
      for (const [what, lie] of lies(people)) expect([what, arrived(what, lie)]).toEqual([what, false]);
      // Whoever empties the table gets it back, and so does the next engine.
      const nft = new NftSocket(lab.host);
      const [name] = nft.tables("bridge");
      nft.transaction([deleteTable({ family: "bridge", name: name! })]);
      while (nft.tables("bridge").length === 0) await Bun.sleep(5);
      // The kernel shows a table a moment before packets meet it.
      while (arrived(...lies(people)[0]!)) await Bun.sleep(5);
      for (const [what, lie] of lies(people)) expect([what, arrived(what, lie)]).toEqual([what, false]);
      await engine.kill();
      await engine.start();
      for (const [what, lie] of lies(people)) expect([what, arrived(what, lie)]).toEqual([what, false]);
      nft.close();
    } finally {
      for (const wire of [from, to]) wire.close();
      await people.end();
    }
  });

  test("the victim's neighbours keep its address", async () => {
    const people = await scene("neighbours");
    const { thief, victim, other } = people;
    await lab.serve(victim.inside, 7000);
    expect(await lab.ask(other.inside, "tcp", victim.IPAddress!, 7000)).toBe(other.IPAddress!);
    const from = new Wire(thief.inside);
    for (const [, lie] of lies(people)) from.send(lie);
    from.close();
    const table = inNetworkNamespace(other.inside, () => readFileSync("/proc/thread-self/net/arp", "utf8"));
    expect(table).toMatch(new RegExp(`^${victim.IPAddress!.replaceAll(".", "\\.")} .* ${victim.MacAddress} `, "m"));
    for (const address of [victim.IPAddress!, victim.GlobalIPv6Address!]) {
      expect(await lab.reaches(other.inside, "tcp", address, 7000)).toBe(true);
    }
    await people.end();
  });

  test("a network that allows it: the lies arrive, and so the tests above see them", async () => {
    const people = await scene("free", "-o", "inro.network.bridge.allow_spoofing=true");
    const [from, to] = [new Wire(people.thief.inside), new Wire(people.other.inside)];
    for (const [what, lie] of lies(people)) {
      from.send(lie);
      from.send(
        frame(
          people.other.MacAddress!,
          people.thief.MacAddress!,
          "0800",
          udp4(people.thief.IPAddress!, people.other.IPAddress!, [9, 9], `after ${what}`),
        ),
      );
      // A tag is taken off a frame before a socket sees it.
      const seen = to
        .until(`after ${what}`)
        .some((bytes) => bytes.includes(lie.subarray(lie.readUInt16BE(12) === 0x8100 ? 18 : 14, 60)));
      expect([what, seen]).toEqual([what, true]);
    }
    for (const wire of [from, to]) wire.close();
    await people.end();
  });

  test("nothing of ended containers stays in the table", async () => {
    const people = await scene("ended");
    const nft = new NftSocket(lab.host);
    const [name] = nft.tables("bridge");
    const table = { family: "bridge", name: name! } as const;
    expect(nft.elements(table, "ports").length).toBe(3);
    await people.end();
    expect(nft.tables("bridge")).toEqual([]);
    nft.close();
    expect(await engine.ok("system", "check")).toBe("no leaks found");
  });
});
