import { expect } from "bun:test";
import { readFileSync, readlinkSync } from "node:fs";
import { eventually } from "../../bundle.ts";
import { section } from "../case.ts";
import type { Container, Context } from "../context.ts";
import { noTimeNamespace } from "../machine.ts";

const { shows, refuses, does } = section("config-linux.md#namespaces");

type Type = "pid" | "network" | "mount" | "ipc" | "uts" | "user" | "cgroup" | "time";
const FILES: Record<Type, string> = {
  pid: "pid",
  network: "net",
  mount: "mnt",
  ipc: "ipc",
  uts: "uts",
  user: "user",
  cgroup: "cgroup",
  time: "time",
};
const link = (pid: number | "self", type: Type) => readlinkSync(`/proc/${pid}/ns/${FILES[type]}`);
const NEW_TIME = {
  crun: "1.8.1 does not know the time namespace of 1.1",
  runc: "1.1.5 does not know the time namespace",
};

/** The namespace entries without those of `type`, and then `more`. */
export const namespaces =
  (types: readonly string[], ...more: object[]) =>
  (s: { linux: { namespaces?: { type: string }[] }; hostname?: string }) => {
    s.linux.namespaces = [
      ...s.linux.namespaces!.filter(({ type }) => !types.includes(type)),
      ...(more as { type: string }[]),
    ];
    if (types.includes("uts")) delete s.hostname;
  };

const USER = (s: { linux: object }) =>
  Object.assign(s.linux, {
    uidMappings: [{ containerID: 0, hostID: 100000, size: 65536 }],
    gidMappings: [{ containerID: 0, hostID: 200000, size: 65536 }],
  });

async function pidOf(container: Container): Promise<number> {
  return (await container.state()).pid;
}

/** One container is up; another that joins its namespace of `type` by path runs `script`. */
async function joined(c: Context, type: Type, script = "exec sleep 1000") {
  const first = await c.up(namespaces([type], { type }) as never);
  const pid = await pidOf(first);
  const second = await c
    .container(script, namespaces([type], { type, path: `/proc/${pid}/ns/${FILES[type]}` }) as never)
    .ok("run", ["--detach"]);
  return { first: pid, second: await pidOf(second) };
}

export const namespaceCases = [
  ...(["pid", "network", "mount", "ipc", "uts", "cgroup"] as const).map((type) =>
    does(`linux.namespaces ${type}: a new one`, async (c) => {
      const container = await c.up(namespaces([type], { type }) as never);
      expect(link(await pidOf(container), type)).not.toBe(link("self", type));
    }),
  ),
  ...(["pid", "network", "ipc", "uts", "cgroup"] as const).map((type) =>
    does(`linux.namespaces ${type}: absent is the runtime's`, async (c) => {
      // Without a network namespace of its own sysfs cannot be mounted anew in a user namespace; here it can.
      const container = await c.up(namespaces([type]) as never);
      expect(link(await pidOf(container), type)).toBe(link("self", type));
    }),
  ),
  ...(["pid", "network", "ipc", "uts", "cgroup"] as const).map((type) =>
    does(`linux.namespaces ${type}: by path`, async (c) => {
      const { first, second } = await joined(c, type);
      expect(link(second, type)).toBe(link(first, type));
    }),
  ),
  does("linux.namespaces mount: by path", async (c) => {
    // Another process's, in which the bundle is there.
    const keeper = Bun.spawn([
      "/bin/busybox",
      "unshare",
      "-m",
      "--propagation",
      "private",
      "/bin/busybox",
      "sleep",
      "1000",
    ]);
    try {
      await eventually("it has its own", () => link(keeper.pid, "mount") !== link("self", "mount"));
      const entry = { type: "mount", path: `/proc/${keeper.pid}/ns/mnt` };
      const container = await c.up(namespaces(["mount"], entry) as never);
      expect(link(await pidOf(container), "mount")).toBe(link(keeper.pid, "mount"));
    } finally {
      keeper.kill();
    }
  }),
  does(
    "linux.namespaces user, network: by path together",
    async (c) => {
      const first = await c.up((s) => {
        namespaces([], { type: "user" })(s);
        USER(s);
      });
      const pid = await pidOf(first);
      const second = await c
        .container("exec sleep 1000", (s) => {
          namespaces(
            ["network"],
            { type: "network", path: `/proc/${pid}/ns/net` },
            { type: "user", path: `/proc/${pid}/ns/user` },
          )(s);
        })
        .ok("run", ["--detach"]);
      const joinedPid = await pidOf(second);
      expect(link(joinedPid, "user")).toBe(link(pid, "user"));
      expect(link(joinedPid, "network")).toBe(link(pid, "network"));
    },
    { differs: { runc: "1.1.5 wants mappings though the namespace has them" } },
  ),
  refuses(
    "linux.namespaces: a path of another type",
    namespaces(["network"], { type: "network", path: "/proc/self/ns/uts" }) as never,
    /linux\.namespaces/,
  ),
  refuses(
    "linux.namespaces: a path that is no namespace",
    namespaces(["network"], { type: "network", path: "/etc/passwd" }) as never,
    /linux\.namespaces/,
  ),
  refuses(
    "linux.namespaces: a path that is not there",
    namespaces(["network"], { type: "network", path: "/nowhere/ns" }) as never,
    /\/nowhere\/ns/,
  ),
  refuses(
    "linux.namespaces: a relative path",
    namespaces(["network"], { type: "network", path: "ns/net" }) as never,
    /must be absolute/,
  ),
  refuses(
    "linux.namespaces: a type twice",
    (s) => {
      s.linux.namespaces!.push({ type: "uts" });
    },
    /uts twice/,
    { differs: { crun: "1.8.1 takes it" } },
  ),
  refuses("linux.namespaces: an unknown type", namespaces([], { type: "nope" }) as never, /unknown "nope"/),
  shows("linux.namespaces pid: the process is 1", {}, "echo $$", "1"),
  shows("linux.namespaces network: only loopback", {}, "ls /sys/class/net | tr '\\n' ' '", /^lo( |$)/),
  shows("linux.namespaces network: loopback is up", {}, "ip addr show lo", /inet 127\.0\.0\.1/),
  shows("linux.namespaces cgroup: the root of its own", {}, "cut -d: -f3 /proc/self/cgroup | sort -u", "/"),
];

const time = section("config-linux.md#offset-for-time-namespace");
const offsets = (given: object) => (s: { linux: object }) => {
  namespaces([], { type: "time" })(s as never);
  Object.assign(s.linux, { timeOffsets: given });
};
const noTime = { missing: noTimeNamespace, differs: NEW_TIME };

export const timeCases = [
  does(
    "linux.namespaces time: a new one",
    async (c) => {
      const container = await c.up(namespaces([], { type: "time" }) as never);
      expect(link(await pidOf(container), "time")).not.toBe(link("self", "time"));
    },
    noTime,
  ),
  does(
    "linux.namespaces time: by path",
    async (c) => {
      const { first, second } = await joined(c, "time");
      expect(link(second, "time")).toBe(link(first, "time"));
    },
    noTime,
  ),
  time.does(
    "linux.timeOffsets boottime",
    async (c) => {
      const { out } = await c.run("cat /proc/uptime", offsets({ boottime: { secs: 1_000_000, nanosecs: 5 } }) as never);
      const own = Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]);
      expect(Math.abs(Number(out.split(" ")[0]) - own - 1_000_000)).toBeLessThan(60);
    },
    noTime,
  ),
  time.shows(
    "linux.timeOffsets monotonic",
    offsets({ monotonic: { secs: 77, nanosecs: 88 } }) as never,
    "grep monotonic /proc/self/timens_offsets",
    /monotonic +77 +88/,
    noTime,
  ),
  time.refuses(
    "linux.timeOffsets: without a time namespace",
    { linux: { timeOffsets: { boottime: { secs: 1 } } } },
    /timeOffsets/,
    { differs: NEW_TIME },
  ),
  time.refuses(
    "linux.timeOffsets: with a path",
    (s) => {
      namespaces([], { type: "time", path: "/proc/self/ns/time" })(s);
      s.linux.timeOffsets = { boottime: { secs: 1 } };
    },
    /timeOffsets/,
    { missing: noTimeNamespace },
  ),
  time.refuses("linux.timeOffsets: an unknown clock", offsets({ nope: { secs: 1 } }) as never, /timeOffsets/, {
    missing: noTimeNamespace,
  }),
];

const user = section("config-linux.md#user-namespace-mappings");
const userns =
  (more: (s: { linux: Record<string, unknown>; process: { user: object } }) => void = () => {}) =>
  (s: { linux: object }) => {
    namespaces([], { type: "user" })(s as never);
    USER(s);
    more(s as never);
  };

export const userCases = [
  user.shows(
    "linux.uidMappings, gidMappings",
    userns() as never,
    "cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '",
    " 0 100000 65536\n 0 200000 65536",
  ),
  user.shows(
    "linux.uidMappings: several ranges",
    userns((s) => {
      s.linux.uidMappings = [
        { containerID: 0, hostID: 100000, size: 10 },
        { containerID: 10, hostID: 200000, size: 10 },
        { containerID: 1000, hostID: 1000, size: 1 },
      ];
    }) as never,
    "cat /proc/self/uid_map | tr -s ' '",
    " 0 100000 10\n 10 200000 10\n 1000 1000 1",
  ),
  user.does("linux.uidMappings: the host's id of the process", async (c) => {
    const container = await c.up(userns() as never);
    expect(readFileSync(`/proc/${await pidOf(container)}/status`, "utf8")).toMatch(/^Uid:\t100000\t/m);
  }),
  user.shows(
    "user namespace: process.user is the container's",
    userns((s) => Object.assign(s.process.user, { uid: 5, gid: 6, additionalGids: [7] })) as never,
    "id -u; id -G",
    "5\n6 7",
  ),
  user.shows("user namespace: devices are there", userns() as never, "echo x > /dev/null; ls /dev/zero", "/dev/zero"),
  user.does("user namespace: exec joins it", async (c) => {
    const container = await c.up(userns() as never);
    expect(await container.sh("cat /proc/self/uid_map | tr -s ' '")).toBe(" 0 100000 65536");
  }),
  user.refuses(
    "linux.uidMappings: without a user namespace",
    { linux: { uidMappings: [{ containerID: 0, hostID: 0, size: 1 }] } },
    /uidMappings|user namespace/,
    { spec: "runc", differs: { crun: "1.8.1 ignores them", runc: "1.1.5 takes them for a user namespace" } },
  ),
  user.refuses("user namespace: without mappings", namespaces([], { type: "user" }) as never, /uidMappings|mapping/, {
    spec: "runc",
  }),
  user.refuses(
    "linux.uidMappings: overlapping",
    userns((s) => {
      s.linux.uidMappings = [
        { containerID: 0, hostID: 100000, size: 10 },
        { containerID: 5, hostID: 200000, size: 10 },
      ];
    }) as never,
    /uid/,
  ),
  user.refuses(
    "process.user.uid: not mapped",
    userns((s) => Object.assign(s.process.user, { uid: 70000 })) as never,
    /user|uid/,
  ),
];
