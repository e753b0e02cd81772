import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { NAMESPACE_FILE } from "../../src/runtime/namespaces.ts";
import type { IdMapping, NamespaceType, Spec } from "../../src/spec/oci-runtime.ts";
import { cannotRun, Runtime } from "./bundle.ts";

type Config = Spec & { process: NonNullable<Spec["process"]>; linux: NonNullable<Spec["linux"]> };
const TYPES = Object.keys(NAMESPACE_FILE) as NamespaceType[];
const map = (hostID: number): IdMapping[] => [{ containerID: 0, hostID, size: 65536 }];
const link = (pid: number | "self", type: NamespaceType) => readlinkSync(`/proc/${pid}/ns/${NAMESPACE_FILE[type]}`);

describe.skipIf(cannotRun !== undefined)(`linux.namespaces${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  /** A container with namespaces of its own of every type but user, and one with every type. */
  let plain: number;
  let mapped: number;
  let count = 0;

  /** Sets the path of a type, adds the type, or with null takes it away. */
  const set = (s: Config, types: Partial<Record<NamespaceType, string | null | undefined>>) => {
    s.linux.namespaces = s.linux.namespaces!.filter(({ type }) => !(type in types));
    for (const type of Object.keys(types) as NamespaceType[]) {
      const path = types[type];
      if (path !== null) s.linux.namespaces.push({ type, ...(path !== undefined && { path }) });
    }
  };
  const paths = (pid: number, types: readonly NamespaceType[]) =>
    Object.fromEntries(types.map((type) => [type, `/proc/${pid}/ns/${NAMESPACE_FILE[type]}`]));
  /** With the places of its mounts: another user's root may not make them. */
  const bundle = (script: string, change: (s: Config) => void = () => {}) => {
    const path = runtime.bundle(script, (s) => change(s as Config));
    for (const name of ["dev", "proc", "sys"]) mkdirSync(join(path, "rootfs", name));
    return path;
  };
  const unmasked = (s: Config) => {
    delete s.linux.maskedPaths;
    delete s.linux.readonlyPaths;
  };
  const holder = async (id: string, change: (s: Config) => void) => {
    await runtime.ok("run", "-d", "-b", bundle("exec sleep 10000", change), id);
    return (await runtime.status(id)).pid;
  };

  beforeAll(async () => {
    runtime = new Runtime();
    chmodSync(runtime.dir, 0o755);
    plain = await holder("plain", (s) => set(s, { time: undefined, cgroup: undefined }));
    mapped = await holder("mapped", (s) => {
      set(s, { time: undefined, cgroup: undefined, user: undefined });
      s.linux.uidMappings = map(100000);
      s.linux.gidMappings = map(200000);
    });
  });
  afterAll(() => runtime.close());

  /** Runs a container, gives its pid to `look`, and checks that exec is in the same place. */
  const inside = async (change: (s: Config) => void, look: (pid: number, id: string) => void | Promise<void>) => {
    const id = `inside${count++}`;
    await runtime.ok("run", "-d", "-b", bundle("exec sleep 10000", change), id);
    try {
      const { pid } = await runtime.status(id);
      await look(pid, id);
      const script = `cat /proc/self/comm; for n in ${Object.values(NAMESPACE_FILE).join(" ")}; do readlink /proc/self/ns/$n; done; ls /`;
      const { code, out, err } = await runtime.run(["exec", id, "sh", "-c", script]);
      expect({ code, err }).toEqual({ code: 0, err: "" });
      const [comm, ...rest] = out.trim().split("\n");
      expect(comm).toBe("cat");
      expect(rest.splice(0, TYPES.length)).toEqual(TYPES.map((type) => link(pid, type)));
      // The container's root, not the namespace's.
      expect(rest).toEqual(["bin", "dev", "proc", "sys"]);
    } finally {
      await runtime.ok("delete", "-f", id);
    }
  };

  test.each(TYPES.filter((type) => type !== "user"))("%s joined by path", async (type) => {
    await inside(
      (s) => set(s, paths(plain, [type])),
      (pid) => {
        expect(link(pid, type)).toBe(link(plain, type));
        for (const other of TYPES) {
          if (other !== type && other !== "user") expect(link(pid, other)).not.toBe(link(plain, other));
        }
      },
    );
  });

  test.each<[string, NamespaceType[]]>([
    ["user", ["user"]],
    ["user and what it owns", ["user", "network", "ipc", "uts", "pid", "cgroup"]],
    ["all", TYPES],
  ])("%s, of a container with a user namespace", async (_name, types) => {
    await inside(
      (s) => set(s, paths(mapped, types)),
      async (pid, id) => {
        for (const type of types) expect([type, link(pid, type)]).toEqual([type, link(mapped, type)]);
        expect((await runtime.run(["exec", id, "cat", "/proc/self/uid_map"])).out.trim().split(/\s+/)).toEqual([
          "0",
          "100000",
          "65536",
        ]);
        expect(readFileSync(`/proc/${pid}/status`, "utf8")).toMatch(/^Uid:\t100000\t/m);
      },
    );
  });

  test("a user namespace beside a network namespace of the host's", async () => {
    await inside(
      (s) => {
        set(s, { ...paths(mapped, ["user"]), ...paths(plain, ["network", "ipc"]) });
        // File systems that belong to the host's: not for a user namespace to mount.
        s.mounts = s.mounts!.filter(({ type }) => !["mqueue", "sysfs", "cgroup"].includes(type ?? ""));
      },
      (pid) => {
        expect(link(pid, "user")).toBe(link(mapped, "user"));
        expect(link(pid, "network")).toBe(link(plain, "network"));
        expect(link(pid, "ipc")).toBe(link(plain, "ipc"));
      },
    );
  });

  test.each(TYPES.filter((type) => type !== "user"))("%s absent: the runtime's", async (type) => {
    await inside(
      (s) => {
        set(s, { [type]: null });
        delete s.hostname;
        unmasked(s);
      },
      (pid) => expect(link(pid, type)).toBe(link("self", type)),
    );
  });

  test.each<[string, (s: Config) => void]>([
    ["joined", (s) => set(s, paths(plain, ["mount"]))],
    [
      "the runtime's",
      (s) => {
        set(s, { mount: null });
        unmasked(s);
      },
    ],
    ["the runtime's by path", (s) => set(s, { mount: "/proc/self/ns/mnt" })],
  ])("a mount namespace that is %s stays as it was", async (_name, change) => {
    // Of the machine's own only ours: others mount there too.
    const ours = () =>
      readFileSync("/proc/self/mountinfo", "utf8")
        .split("\n")
        .filter((line) => line.includes(runtime.dir));
    const seen = () => [readFileSync(`/proc/${plain}/mountinfo`, "utf8"), ours()];
    const before = seen();
    const path = bundle("", (s) => {
      change(s);
      s.process.args = ["sh", "-c", "ls /; echo x > /dev/null; cat /proc/mounts; echo end"];
    });
    const id = `mounts${count++}`;
    await runtime.ok("create", "-b", path, id);
    expect(seen()).toEqual(before);
    await runtime.ok("delete", "-f", id);
    expect((await runtime.run(["run", "-b", path, id])).out).toBe("bin\ndev\nproc\nsys\nend\n");
    expect(seen()).toEqual(before);
  });

  test("a user namespace with as many ranges as the kernel takes", async () => {
    const ranges = Array.from({ length: 340 }, (_, i) => ({ containerID: i, hostID: 1000 + i * 2, size: 1 }));
    const path = bundle("cat /proc/self/uid_map; id -u", (s) => {
      set(s, { user: undefined });
      s.linux.uidMappings = ranges;
      s.linux.gidMappings = ranges;
      s.process.user = { uid: 339, gid: 339 };
    });
    const { out, err } = await runtime.run(["run", "-b", path, "ranges"]);
    expect(err).toBe("");
    const lines = out.trim().split("\n");
    expect(lines.pop()).toBe("339");
    expect(lines.map((line) => line.trim().split(/\s+/).map(Number))).toEqual(
      ranges.map((r) => [r.containerID, r.hostID, r.size]),
    );
  });

  test.each<[string, (s: Config) => void]>([
    ["mappings beside a path, the same", () => {}],
    ["the same in another order", (s) => s.linux.uidMappings!.reverse()],
  ])("%s", async (_name, change) => {
    const two = [{ containerID: 0, hostID: 100000, size: 65536 }];
    const path = bundle("true", (s) => {
      set(s, paths(mapped, ["user"]));
      s.linux.uidMappings = two;
      s.linux.gidMappings = map(200000);
      change(s);
    });
    expect(await runtime.run(["run", "-b", path, "same"])).toMatchObject({
      err: expect.not.stringContaining("linux."),
    });
  });

  describe("linux.timeOffsets", () => {
    const DAY = 86400;
    const uptime = (text: string) => Number(text.split(" ")[0]);
    test.each<[string, boolean, Record<string, { secs?: number; nanosecs?: number }>, number]>([
      ["boottime ahead", false, { boottime: { secs: DAY } }, DAY],
      [
        "both, with nanoseconds",
        false,
        { boottime: { secs: DAY, nanosecs: 999_999_999 }, monotonic: { secs: 2 * DAY } },
        DAY + 1,
      ],
      ["behind, by nanoseconds alone", false, { boottime: { nanosecs: 500 } }, 0],
      ["in a user namespace", true, { boottime: { secs: DAY } }, DAY],
    ])("%s", async (_name, userns, offsets, seconds) => {
      const id = `time${count++}`;
      const path = bundle("cat /proc/uptime; exec sleep 1000", (s) => {
        set(s, { time: undefined, ...(userns && { user: undefined }) });
        s.linux.timeOffsets = offsets;
        if (userns) {
          s.linux.uidMappings = map(100000);
          s.linux.gidMappings = map(100000);
        }
      });
      await runtime.ok("run", "-d", "-b", path, id);
      const inside = uptime((await runtime.run(["exec", id, "cat", "/proc/uptime"])).out);
      const outside = uptime(readFileSync("/proc/uptime", "utf8"));
      expect(Math.abs(inside - outside - seconds)).toBeLessThan(10);
      await runtime.ok("delete", "-f", id);
    });
  });

  describe("linux.sysctl", () => {
    test.each<[string, string, string]>([
      ["net.ipv4.ip_forward", "1", "net/ipv4/ip_forward"],
      ["net/ipv4/conf/lo/forwarding", "1", "net/ipv4/conf/lo/forwarding"],
      ["kernel.shm_rmid_forced", "1", "kernel/shm_rmid_forced"],
      ["kernel/msgmax", "9000", "kernel/msgmax"],
      ["fs.mqueue.msg_max", "11", "fs/mqueue/msg_max"],
      ["kernel.domainname", "of.sysctl", "kernel/domainname"],
    ])("%s", async (key, value, file) => {
      const path = bundle(`cat /proc/sys/${file}`, (s) => {
        s.linux.sysctl = { [key]: value };
      });
      expect(await runtime.run(["run", "-b", path, "sysctl"])).toEqual({ code: 0, out: `${value}\n`, err: "" });
    });

    test("net.* in a network namespace that is joined", async () => {
      const path = bundle("cat /proc/sys/net/ipv4/ip_default_ttl", (s) => {
        set(s, paths(plain, ["network"]));
        s.linux.sysctl = { "net.ipv4.ip_default_ttl": "77" };
      });
      expect((await runtime.run(["run", "-b", path, "sysctl"])).out).toBe("77\n");
    });
  });

  test("the loopback interface is up in a network namespace of its own", async () => {
    const path = bundle("cat /sys/class/net/lo/flags; ls /sys/class/net", () => {});
    // IFF_UP | IFF_LOOPBACK.
    expect((await runtime.run(["run", "-b", path, "lo"])).out).toMatch(/^0x9\n.*lo\n/s);
  });

  test("hostname and domainname", async () => {
    const path = bundle("hostname; cat /proc/sys/kernel/domainname", (s) => {
      s.hostname = "a-host";
      s.domainname = "a.domain";
    });
    expect((await runtime.run(["run", "-b", path, "names"])).out).toBe("a-host\na.domain\n");
    expect(readFileSync("/proc/sys/kernel/domainname", "utf8")).not.toBe("a.domain\n");
  });

  const FILE = "/etc/passwd";
  const ours = (type: NamespaceType) => `/proc/self/ns/${NAMESPACE_FILE[type]}`;
  test.each<[string, (s: Config) => void]>([
    ["network /etc/passwd: is no namespace", (s) => set(s, { network: FILE })],
    ["network /etc: is no namespace", (s) => set(s, { network: "/etc" })],
    ["is a namespace of type network", (s) => set(s, { ipc: ours("network") })],
    ["is a namespace of type user", (s) => set(s, { mount: ours("user") })],
    ["is a namespace of type pid", (s) => set(s, { time: ours("pid") })],
    [
      "ENOENT: no such file or directory, open '/proc/4194303/ns/net'; has the process ended?",
      (s) => set(s, { network: "/proc/4194303/ns/net" }),
    ],
    ["ENOENT: no such file or directory, open '/nowhere'", (s) => set(s, { network: "/nowhere" })],
    ["the path of network must be absolute, is ns", (s) => set(s, { network: "ns" })],
    ["linux.namespaces: pid twice", (s) => void s.linux.namespaces!.push({ type: "pid", path: ours("pid") })],
    ["user /proc/self/ns/user: is the runtime's own, which cannot be joined", (s) => set(s, { user: ours("user") })],
    ["unable to restrict sys entries without a private MNT namespace", (s) => set(s, { mount: null })],
    ["hostname: needs a uts namespace", (s) => set(s, { uts: null })],
    [
      "domainname: needs a uts namespace",
      (s) => {
        set(s, { uts: null });
        delete s.hostname;
        s.domainname = "x";
      },
    ],
    ["is the runtime's own: hostname, domainname: not allowed there", (s) => set(s, { uts: ours("uts") })],
    [
      "linux.uidMappings: need a user namespace",
      (s) => {
        s.linux.uidMappings = map(1);
      },
    ],
    [
      "a new user namespace needs uidMappings and gidMappings",
      (s) => {
        set(s, { user: undefined });
        s.linux.uidMappings = map(1);
      },
    ],
    [
      "non-matching mapping specified",
      (s) => {
        set(s, paths(mapped, ["user"]));
        s.linux.uidMappings = map(1);
        s.linux.gidMappings = map(200000);
      },
    ],
    [
      "non-matching mapping specified",
      (s) => {
        set(s, paths(mapped, ["user"]));
        s.linux.uidMappings = map(100000);
      },
    ],
    [
      "linux.uidMappings: 341 are too many, the kernel takes 340",
      (s) => {
        set(s, { user: undefined });
        s.linux.uidMappings = Array(341).fill(map(1)[0]);
        s.linux.gidMappings = map(1);
      },
    ],
    [
      "uid_map",
      (s) => {
        set(s, { user: undefined });
        s.linux.uidMappings = [...map(1), ...map(70000)];
        s.linux.gidMappings = map(1);
      },
    ],
    [
      "linux.timeOffsets: need a new time namespace",
      (s) => {
        s.linux.timeOffsets = { boottime: { secs: 1 } };
      },
    ],
    [
      "linux.timeOffsets: need a new time namespace",
      (s) => {
        set(s, paths(plain, ["time"]));
        s.linux.timeOffsets = { boottime: { secs: 1 } };
      },
    ],
    [
      'unknown clock "realtime"',
      (s) => {
        set(s, { time: undefined });
        s.linux.timeOffsets = { realtime: { secs: 1 } };
      },
    ],
    [
      "linux.timeOffsets.boottime.nanosecs: 1000000000 is over 999999999",
      (s) => {
        set(s, { time: undefined });
        s.linux.timeOffsets = { boottime: { nanosecs: 1e9 } };
      },
    ],
    [
      "ERANGE",
      (s) => {
        set(s, { time: undefined });
        s.linux.timeOffsets = { boottime: { secs: -1e10 } };
      },
    ],
    [
      "the clock would be below zero",
      (s) => {
        set(s, { time: undefined });
        s.linux.timeOffsets = { monotonic: { secs: -1e10 } };
      },
    ],
    [
      "vm.swappiness is not in a separate kernel namespace",
      (s) => {
        s.linux.sysctl = { "vm.swappiness": "1" };
      },
    ],
    [
      'kernel.hostname is not allowed as it conflicts with the OCI "hostname" field',
      (s) => {
        s.linux.sysctl = { "kernel.hostname": "x" };
      },
    ],
    [
      "net.ipv4.ip_forward is not allowed in the hosts network namespace",
      (s) => {
        set(s, { network: null });
        s.linux.sysctl = { "net.ipv4.ip_forward": "1" };
      },
    ],
    [
      "sysctl net.ipv4.ip_forward not allowed in host network namespace",
      (s) => {
        set(s, { network: ours("network") });
        s.linux.sysctl = { "net.ipv4.ip_forward": "1" };
      },
    ],
    [
      "kernel.sem is not allowed in the hosts ipc namespace",
      (s) => {
        set(s, { ipc: null });
        s.linux.sysctl = { "kernel.sem": "1" };
      },
    ],
    [
      "sysctl kernel.sem not allowed in host ipc namespace",
      (s) => {
        set(s, { ipc: ours("ipc") });
        s.linux.sysctl = { "kernel.sem": "1 1 1 1" };
      },
    ],
    [
      "fs.mqueue.msg_max is not allowed in the hosts ipc namespace",
      (s) => {
        set(s, { ipc: null });
        s.linux.sysctl = { "fs.mqueue.msg_max": "1" };
      },
    ],
    [
      "user.max_user_namespaces is not allowed in the hosts user namespace",
      (s) => {
        s.linux.sysctl = { "user.max_user_namespaces": "1" };
      },
    ],
    [
      '"net.ipv4/../../kernel" is no name',
      (s) => {
        s.linux.sysctl = { "net.ipv4/../../kernel": "1" };
      },
    ],
    [
      '"net/../vm/swappiness" is no name',
      (s) => {
        s.linux.sysctl = { "net/../vm/swappiness": "1" };
      },
    ],
    [
      "this kernel has no such sysctl",
      (s) => {
        s.linux.sysctl = { "net.no_such": "1" };
      },
    ],
  ])("error: %s", async (message, change) => {
    const hostname = readFileSync("/proc/sys/kernel/hostname", "utf8");
    const { code, err } = await runtime.run(["create", "-b", bundle("true", change), "wrong"]);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(message) });
    expect(existsSync(join(runtime.root, "wrong"))).toBe(false);
    expect(readFileSync("/proc/sys/kernel/hostname", "utf8")).toBe(hostname);
  });
});
