import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { closeSync, existsSync, openSync } from "node:fs";
import { join } from "node:path";
import { sys } from "../../src/linux/call.ts";
import * as k from "../../src/linux/constants.ts";
import { type Attribute, text } from "../../src/linux/netlink/attributes.ts";
import { NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL } from "../../src/linux/netlink/message.ts";
import {
  decodeAddress,
  decodeLink,
  encodeAddress,
  encodeLink,
  IFF_UP,
  IFLA_IFNAME,
  RTM_GETADDR,
  RTM_GETLINK,
  RTM_NEWADDR,
  RTM_NEWLINK,
} from "../../src/linux/netlink/route.ts";
import { inNetworkNamespace, RouteSocket } from "../../src/linux/netlink/socket.ts";
import type { Spec } from "../../src/spec/oci-runtime.ts";
import { cannotRun, Runtime } from "./bundle.ts";

type Config = Spec & { linux: NonNullable<Spec["linux"]> };

/** A network namespace that stands for the machine's: what is in it is the tests' alone. */
class Host {
  readonly fd: number;
  readonly socket: RouteSocket;

  constructor() {
    const own = openSync("/proc/thread-self/ns/net", "r");
    sys("unshare", "network namespace", k.CLONE_NEWNET);
    this.fd = openSync("/proc/thread-self/ns/net", "r");
    sys("setns", "network namespace", own, k.CLONE_NEWNET);
    closeSync(own);
    this.socket = new RouteSocket(this.fd);
  }

  close(): void {
    this.socket.close();
    closeSync(this.fd);
  }

  /** One side of a veth, up; the other, `p-NAME`, stays. */
  add(name: string): void {
    const other = encodeLink({ index: 0, attributes: [[IFLA_IFNAME, text(`p-${name}`)]] });
    // VETH_INFO_PEER holds a whole link, with its header: the attribute is made by hand.
    const header = Buffer.alloc(4);
    header.writeUInt16LE(4 + other.length, 0);
    header.writeUInt16LE(VETH_INFO_PEER, 2);
    const info: Attribute[] = [
      [IFLA_INFO_KIND, text("veth")],
      [IFLA_INFO_DATA, Buffer.concat([header, other])],
    ];
    const attributes: Attribute[] = [
      [IFLA_IFNAME, text(name)],
      [IFLA_LINKINFO, info],
    ];
    const payload = encodeLink({ index: 0, flags: IFF_UP, change: IFF_UP, attributes });
    request(this.socket, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, payload);
  }

  address(name: string, address: number[], prefixLength: number, scope = 0): void {
    const bytes = Buffer.from(address);
    const family = bytes.length === 4 ? 2 : 10;
    const index = links(this.socket).find((link) => link.name === name)!.index;
    const payload = encodeAddress({
      family,
      prefixLength,
      flags: 0,
      scope,
      index,
      address: bytes,
      local: bytes,
      broadcast: undefined,
    });
    request(this.socket, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, payload);
  }
}

const IFLA_LINKINFO = 18;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;
const LINK_SCOPE = 253;
const V6 = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

function request(socket: RouteSocket, type: number, flags: number, payload: Buffer) {
  const header = type === RTM_NEWLINK || type === RTM_GETLINK ? 16 : 8;
  return socket.request({ type, flags, payload, operation: `message ${type}`, object: "test", header, attributes: {} });
}

function links(socket: RouteSocket) {
  return request(socket, RTM_GETLINK, NLM_F_DUMP, encodeLink({ index: 0 })).map(({ payload }) => decodeLink(payload));
}

/** Links but for lo and the other sides: name → whether it is up, and its addresses of global and link scope. */
function seen(socket: RouteSocket): Record<string, [up: boolean, ...addresses: string[]]> {
  const addresses = request(socket, RTM_GETADDR, NLM_F_DUMP, Buffer.alloc(8)).map(({ payload }) =>
    decodeAddress(payload),
  );
  return Object.fromEntries(
    links(socket)
      .filter(({ name }) => name !== "lo" && !name.startsWith("p-"))
      .map(({ name, index, flags }) => {
        const own = addresses
          .filter((a) => a.index === index && !(a.family === 10 && a.scope === LINK_SCOPE))
          .map((a) => `${(a.local ?? a.address)!.toString("hex")}/${a.prefixLength}`);
        return [name, [(flags & IFF_UP) !== 0, ...own.sort()]];
      }),
  );
}

describe.skipIf(cannotRun !== undefined)(`linux.netDevices${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  let host: Host;
  beforeAll(() => {
    runtime = new (class extends Runtime {
      override spawn(...args: Parameters<Runtime["spawn"]>) {
        return inNetworkNamespace(host.fd, () => super.spawn(...args));
      }
    })();
  });
  beforeEach(() => {
    host?.close();
    host = new Host();
    host.add("dum0");
    host.address("dum0", [10, 1, 2, 3], 24);
    host.address("dum0", [10, 9, 2, 9], 24, LINK_SCOPE);
    host.address("dum0", V6, 64);
  });
  afterAll(async () => {
    await runtime.close();
    host.close();
  });

  const ON_HOST = { dum0: [true, "0a010203/24", "0a090209/24", `${Buffer.from(V6).toString("hex")}/64`] } as const;
  const [, global4, , global6] = ON_HOST.dum0;
  const bundle = (change: (s: Config) => void) => runtime.bundle("exec sleep 1000", (s) => change(s as Config));
  const inside = (pid: number) => {
    const fd = openSync(`/proc/${pid}/ns/net`, "r");
    const socket = new RouteSocket(fd);
    try {
      return seen(socket);
    } finally {
      socket.close();
      closeSync(fd);
    }
  };

  test.each<[string, Record<string, { name?: string }>, () => void, ReturnType<typeof seen>]>([
    [
      "under its own name, with its permanent global addresses, up",
      { dum0: {} },
      () => {},
      { dum0: [true, global4, global6] },
    ],
    ["an empty name is none", { dum0: { name: "" } }, () => {}, { dum0: [true, global4, global6] }],
    ["under another name", { dum0: { name: "eth0" } }, () => {}, { eth0: [true, global4, global6] }],
    [
      "of the longest length",
      { dum0: { name: "a23456789012345" } },
      () => {},
      { a23456789012345: [true, global4, global6] },
    ],
    [
      "numbered by the kernel",
      { dum0: { name: "net%d" }, dum1: { name: "net%d" } },
      () => host.add("dum1"),
      { net0: [true, global4, global6], net1: [true] },
    ],
    [
      "two that change their names",
      { dum0: { name: "dum1" }, dum1: { name: "dum0" } },
      () => host.add("dum1"),
      { dum1: [true, global4, global6], dum0: [true] },
    ],
  ])("%s", async (_name, netDevices, prepare, expected) => {
    prepare();
    const path = bundle((s) => {
      s.linux.netDevices = netDevices;
    });
    await runtime.ok("create", "-b", path, "net");
    const { pid } = await runtime.status("net");
    expect(inside(pid)).toEqual(expected);
    const left = seen(host.socket);
    for (const name of Object.keys(netDevices)) expect(left[name]).toBeUndefined();
    await runtime.ok("start", "net");
    expect((await runtime.run(["exec", "net", "ls", "/sys/class/net"])).out.split(/\s+/)).toContain(
      Object.keys(expected)[0]!,
    );
    await runtime.ok("delete", "-f", "net");
    // Not brought back.
    for (const name of Object.keys(netDevices)) expect(seen(host.socket)[name]).toBeUndefined();
  });

  test("run; a user namespace; hooks find it in the container", async () => {
    const path = bundle((s) => {
      s.linux.netDevices = { dum0: { name: "eth0" } };
      s.linux.namespaces!.push({ type: "user" });
      s.linux.uidMappings = [{ containerID: 0, hostID: 0, size: 65536 }];
      s.linux.gidMappings = [{ containerID: 0, hostID: 0, size: 65536 }];
      s.hooks = {
        createContainer: [
          { path: "/bin/sh", args: ["sh", "-c", "grep eth0 /proc/net/dev"], env: ["PATH=/bin:/usr/bin"] },
        ],
      };
    });
    const { code, err } = await runtime.run(["run", "-d", "-b", path, "net"]);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(inside((await runtime.status("net")).pid)).toEqual({ eth0: [true, global4, global6] });
    await runtime.ok("delete", "-f", "net");
  });

  test("into a network namespace that is joined", async () => {
    await runtime.ok(
      "run",
      "-d",
      "-b",
      bundle(() => {}),
      "holder",
    );
    const { pid } = await runtime.status("holder");
    const path = bundle((s) => {
      s.linux.netDevices = { dum0: {} };
      s.linux.namespaces = s.linux.namespaces!.map((n) =>
        n.type === "network" ? { ...n, path: `/proc/${pid}/ns/net` } : n,
      );
    });
    await runtime.ok("create", "-b", path, "net");
    expect(inside(pid)).toEqual({ dum0: [true, global4, global6] });
    await runtime.ok("delete", "-f", "net");
    await runtime.ok("delete", "-f", "holder");
  });

  const none = (s: Config) => {
    s.linux.namespaces = s.linux.namespaces!.filter(({ type }) => type !== "network");
  };
  const noName = "is no name of a network device";
  test.each<[string, Record<string, { name?: string }>, (s: Config) => void]>([
    ["unable to move network devices without a NET namespace", { dum0: {} }, none],
    [
      "is the runtime's own: linux.netDevices: not allowed there",
      { dum0: {} },
      (s) => {
        none(s);
        s.linux.namespaces!.push({ type: "network", path: "/proc/self/ns/net" });
      },
    ],
    ["linux.netDevices nope: there is no such interface", { nope: {} }, () => {}],
    ["linux.netDevices lo: the container's network namespace has an interface lo already", { lo: {} }, () => {}],
    ["linux.netDevices lo: RTM_NEWLINK lo: EINVAL", { lo: { name: "eth0" } }, () => {}],
    ["has an interface lo already", { dum0: { name: "lo" } }, () => {}],
    [
      "linux.netDevices dum1: the container's network namespace has an interface eth0 already",
      { dum0: { name: "eth0" }, dum1: { name: "eth0" } },
      () => host.add("dum1"),
    ],
    ["linux.netDevices nope: there is no such interface", { dum0: { name: "eth0" }, nope: {} }, () => {}],
    [`"a/b": ${noName}`, { "a/b": {} }, () => {}],
    [`"": ${noName}`, { "": {} }, () => {}],
    [`"..": ${noName}`, { "..": {} }, () => {}],
    [`name: "a/b": ${noName}`, { dum0: { name: "a/b" } }, () => {}],
    [`name: "a b": ${noName}`, { dum0: { name: "a b" } }, () => {}],
    [`name: "a:b": ${noName}`, { dum0: { name: "a:b" } }, () => {}],
    [`name: ".": ${noName}`, { dum0: { name: "." } }, () => {}],
    [`name: "%d": ${noName}`, { dum0: { name: "%d" } }, () => {}],
    [`name: "a%db": ${noName}`, { dum0: { name: "a%db" } }, () => {}],
    [`"dum%d": ${noName}`, { "dum%d": {} }, () => {}],
    ['name: "a234567890123456": is longer than 15 bytes', { dum0: { name: "a234567890123456" } }, () => {}],
    ["linux.netDevices.dum0: must be an object, is a string", { dum0: "eth0" as never }, () => {}],
    ["linux.netDevices.dum0.name: must be a string, is a number", { dum0: { name: 1 as never } }, () => {}],
    [
      "hooks.createRuntime[0] /bin/sh: exit status 1",
      { dum0: { name: "eth0" } },
      (s) => {
        s.hooks = { createRuntime: [{ path: "/bin/sh", args: ["sh", "-c", "exit 1"] }] };
      },
    ],
    [
      'exec: "/nope"',
      { dum0: { name: "eth0" } },
      (s) => {
        s.process!.args = ["/nope"];
      },
    ],
  ])("error: %s; all is as before", async (message, netDevices, change) => {
    const path = bundle((s) => {
      change(s);
      s.linux.netDevices = netDevices;
    });
    const before = seen(host.socket);
    expect(before).toMatchObject(ON_HOST as never);
    const { code, err } = await runtime.run(["create", "-b", path, "wrong"]);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(message) });
    expect(existsSync(join(runtime.root, "wrong"))).toBe(false);
    expect(seen(host.socket)).toEqual(before);
  });
});
