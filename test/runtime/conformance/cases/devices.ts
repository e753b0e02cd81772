import { expect } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { section } from "../case.ts";

const LEAVES = "1.8.1 leaves the cgroup behind when create fails";

const { shows, refuses, does } = section("config-linux.md#devices");
const device = (...devices: object[]) => ({ linux: { devices } });
const FUSE = { path: "/dev/mine", type: "c", major: 10, minor: 229 };

const DEFAULT: readonly [path: string, major: number, minor: number][] = [
  ["/dev/null", 1, 3],
  ["/dev/zero", 1, 5],
  ["/dev/full", 1, 7],
  ["/dev/random", 1, 8],
  ["/dev/urandom", 1, 9],
  ["/dev/tty", 5, 0],
];
const LINKS: readonly [path: string, target: string][] = [
  ["/dev/fd", "/proc/self/fd"],
  ["/dev/stdin", "/proc/self/fd/0"],
  ["/dev/stdout", "/proc/self/fd/1"],
  ["/dev/stderr", "/proc/self/fd/2"],
];

export const deviceCases = [
  ...DEFAULT.map(([path, major, minor]) =>
    shows(
      `default device ${path}`,
      {},
      `stat -c '%t:%T %a %u:%g %F' ${path}`,
      `${major}:${minor} 666 0:0 character special file`,
      { spec: "config-linux.md#default-devices" },
    ),
  ),
  shows("default device /dev/ptmx", {}, "readlink /dev/ptmx", "pts/ptmx", { spec: "config-linux.md#default-devices" }),
  ...LINKS.map(([path, target]) =>
    shows(`default link ${path}`, {}, `readlink ${path}`, target, { spec: "runtime-linux.md#dev-symbolic-links" }),
  ),
  shows(
    "linux.devices c",
    device({ ...FUSE, fileMode: 0o640, uid: 7, gid: 8 }),
    "stat -c '%t:%T %a %u:%g %F' /dev/mine",
    "a:e5 640 7:8 character special file",
  ),
  shows(
    "linux.devices u is c",
    device({ ...FUSE, type: "u" }),
    "stat -c '%t:%T %F' /dev/mine",
    "a:e5 character special file",
  ),
  shows(
    "linux.devices b",
    device({ path: "/dev/mine", type: "b", major: 7, minor: 200 }),
    "stat -c '%t:%T %F' /dev/mine",
    "7:c8 block special file",
  ),
  shows(
    "linux.devices p",
    device({ path: "/dev/mine", type: "p", fileMode: 0o600 }),
    "stat -c '%a %F' /dev/mine",
    "600 fifo",
  ),
  shows("linux.devices: 0666 by default", device(FUSE), "stat -c %a /dev/mine", "666"),
  shows(
    "linux.devices: in a directory of its own",
    device({ ...FUSE, path: "/dev/a/b" }),
    "stat -c %F /dev/a/b",
    "character special file",
  ),
  shows(
    "linux.devices: a user namespace binds the machine's",
    (s) => {
      s.linux.namespaces!.push({ type: "user" });
      s.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
      s.linux.gidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
      s.linux.devices = [{ path: "/dev/null", type: "c", major: 1, minor: 3 }];
    },
    "stat -c '%t:%T' /dev/null",
    "1:3",
    { differs: { runc: "1.1.5 cannot open its /dev/null again" } },
  ),
  does(
    "linux.devices: a file is in its place",
    async (c) => {
      const container = c.container("true", (s) => {
        // The root's own /dev, where something can lie.
        s.mounts = s.mounts.filter(({ destination }) => !destination.startsWith("/dev"));
        s.root!.readonly = false;
        s.linux.devices = [FUSE as never];
      });
      mkdirSync(join(container.rootfs, "dev"), { recursive: true });
      writeFileSync(join(container.rootfs, "dev/mine"), "x");
      expect((await container.launch("create")).code).not.toBe(0);
      await c.nothingLeft(container);
    },
    { differs: { crun: "takes what is there", runc: "1.1.5 takes what is there" } },
  ),
  refuses("linux.devices: unknown type", device({ ...FUSE, type: "x" }), /devices\[0\]\.type/, {
    differs: { crun: "1.8.1 takes it" },
  }),
  refuses("linux.devices: a relative path", device({ ...FUSE, path: "mine" }), /devices\[0\]\.path/, {
    differs: { crun: "takes it as below /", runc: "takes it as below /" },
  }),
  refuses("linux.devices: path missing", device({ type: "c", major: 1, minor: 3 }), /devices\[0\]\.path: required/, {
    differs: { runc: "1.1.5 takes it" },
  }),
  refuses("linux.devices: major missing", device({ path: "/dev/mine", type: "c" }), /devices\[0\]|major/, {
    differs: { crun: "takes 0", runc: "1.1.5 takes 0" },
  }),
];

const rules = section("config-linux.md#allowed-device-list");
/** mknod is allowed to all, so that only opening is the rules'. Minor 200 of loop has no disk: opening it is ENXIO. */
const open =
  (...given: object[]) =>
  (s: { linux: { devices?: unknown; resources?: unknown } }) => {
    s.linux.devices = [{ path: "/dev/mine", type: "c", major: 10, minor: 229 }];
    s.linux.resources = { devices: [{ allow: false, access: "rwm" }, ...given] };
  };
const TRY = "(: < /dev/mine) 2>&1 || true; (: > /dev/mine) 2>&1 || true";
const DENIED = /Operation not permitted|can't open|nonexistent/;
const MKNOD = "mknod /dev/shm/x c 10 229 && echo made || echo refused";
const withMknod =
  (...given: object[]) =>
  (s: { process: { capabilities?: object }; mounts: { destination: string; options?: string[] }[] }) => {
    open(...given)(s as never);
    s.process.capabilities = { bounding: ["CAP_MKNOD"], effective: ["CAP_MKNOD"], permitted: ["CAP_MKNOD"] };
  };

export const deviceRuleCases = [
  rules.does(
    "linux.resources.devices: all denied",
    async (c) => {
      const { out } = await c.run(TRY, open() as never);
      expect(out.match(/Operation not permitted/g)).toHaveLength(2);
    },
    { vm: true },
  ),
  rules.does(
    "linux.resources.devices: one allowed",
    async (c) => {
      const { out } = await c.run(TRY, open({ allow: true, type: "c", major: 10, minor: 229, access: "rw" }) as never);
      expect(out).not.toMatch(/Operation not permitted/);
    },
    {},
  ),
  rules.does(
    "linux.resources.devices: only read",
    async (c) => {
      const { out } = await c.run(TRY, open({ allow: true, type: "c", major: 10, minor: 229, access: "r" }) as never);
      expect(out.match(/Operation not permitted/g)).toHaveLength(1);
    },
    { vm: true },
  ),
  rules.does(
    "linux.resources.devices: any minor",
    async (c) => {
      const { out } = await c.run(TRY, open({ allow: true, type: "c", major: 10, access: "rw" }) as never);
      expect(out).not.toMatch(/Operation not permitted/);
    },
    {},
  ),
  rules.does(
    "linux.resources.devices: type a is every device",
    async (c) => {
      const { out } = await c.run(TRY, open({ allow: true, type: "a", access: "rwm" }) as never);
      expect(out).not.toMatch(/Operation not permitted/);
    },
    {},
  ),
  rules.does(
    "linux.resources.devices: in their order",
    async (c) => {
      const all = { type: "c", major: 10, minor: 229, access: "rwm" };
      const { out } = await c.run(TRY, open({ allow: true, ...all }, { allow: false, ...all }) as never);
      expect(out).toMatch(DENIED);
    },
    {},
  ),
  rules.does(
    "linux.resources.devices: a block device",
    async (c) => {
      const { out } = await c.run(TRY, (s) => {
        open({ allow: true, type: "c", major: 10, minor: 229, access: "rwm" })(s as never);
        s.linux.devices = [{ path: "/dev/mine", type: "b", major: 7, minor: 0 }];
      });
      expect(out.match(/Operation not permitted/g)).toHaveLength(2);
    },
    { vm: true },
  ),
  rules.shows(
    "linux.resources.devices: the default devices stay",
    open() as never,
    "cat /dev/null && echo x > /dev/null && head -c 1 /dev/zero | wc -c",
    "1",
    {},
  ),
  rules.shows("linux.resources.devices: mknod stays", withMknod() as never, MKNOD, /made/, { spec: "runc" }),
  rules.refuses(
    "linux.resources.devices: access missing",
    { linux: { resources: { devices: [{ allow: true, type: "c", major: 1, minor: 1, access: "" }] } } },
    /access/,
    { spec: "runc", differs: { crun: "takes it" } },
  ),
  rules.refuses(
    "linux.resources.devices: unknown type",
    { linux: { resources: { devices: [{ allow: true, type: "x", access: "rwm" }] } } },
    /devices\[0\]\.type/,
    { differs: { crun: LEAVES } },
  ),
  rules.refuses(
    "linux.resources.devices: unknown access",
    { linux: { resources: { devices: [{ allow: true, type: "c", access: "x" }] } } },
    /access/,
    { differs: { crun: "ignores it", runc: "1.1.5 ignores it" } },
  ),
];
