import { expect } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Mount } from "../../../../src/spec/oci-runtime.ts";
import { type FullSpec, section } from "../case.ts";
import type { Container, Context } from "../context.ts";

const { shows, refuses, does } = section("config.md#mounts");

const mount = (given: Partial<Mount>) => (s: FullSpec) => {
  s.mounts.push({ destination: "/m", ...given });
  // So that mount points can be made.
  s.root!.readonly = false;
};
const tmpfs = (...options: string[]) => mount({ type: "tmpfs", source: "tmpfs", options });
/** Fields of mountinfo for /m: options, propagation (optional fields), type, super options. */
const LINE = "grep ' /m ' /proc/self/mountinfo";

/** A bundle whose directory `data` holds the file `x`, bound with these options. */
const bind = (...options: string[]) => mount({ source: "data", options: ["bind", ...options] });
function prepare(container: Container): Container {
  mkdirSync(join(container.bundle, "data/sub"), { recursive: true });
  writeFileSync(join(container.bundle, "data/x"), "data");
  return container;
}
async function bound(c: Context, script: string, expected: string | RegExp, ...options: string[]) {
  const out = await prepare(c.container(script, bind(...options))).says();
  if (typeof expected === "string") expect(out.trimEnd()).toBe(expected);
  else expect(out).toMatch(expected);
}

/** Option, and what it makes of the mount's options or of the file system's. */
const FLAGS: readonly [option: string, expected: RegExp][] = [
  ["ro", / ro,/],
  ["nosuid", / rw,nosuid/],
  ["nodev", / rw,nodev/],
  ["noexec", / rw,noexec/],
  ["noatime", / rw,noatime/],
  ["nodiratime", /nodiratime/],
  ["relatime", / rw,relatime/],
  ["strictatime", /\/m rw [^-]*-/],
  ["sync", / rw,sync/],
  ["dirsync", / rw,dirsync/],
  ["lazytime", /rw,lazytime/],
  ["nosymfollow", /nosymfollow/],
];
const CLEARED: readonly [options: string[], expected: RegExp][] = [
  [["ro", "rw"], / rw,/],
  [["nosuid", "suid"], /\/m rw,relatime /],
  [["nodev", "dev"], /\/m rw,relatime /],
  [["noexec", "exec"], /\/m rw,relatime /],
  [["noatime", "atime"], /\/m rw,relatime /],
  [["nodiratime", "diratime"], /\/m rw,relatime /],
  [["sync", "async"], / rw(?!,sync)/],
  [["defaults"], /\/m rw,relatime /],
  [["silent", "loud"], /\/m rw,relatime /],
  [["relatime", "norelatime"], /\/m rw/],
  [["strictatime", "nostrictatime"], /\/m rw/],
  [["iversion", "noiversion"], /\/m rw,relatime /],
  [["lazytime", "nolazytime"], /\/m rw,relatime [^l]*$/m],
  [["nosymfollow", "symfollow"], /\/m rw,relatime /],
  [["mand", "nomand"], /\/m rw,relatime /],
];
const KEEPS = { crun: "1.8.1 keeps a flag that a later word clears" };
const DIFFERS: Record<string, object> = {
  nosymfollow: { crun: "1.8.1 does not know it" },
  "ro,rw": KEEPS,
  "nosuid,suid": KEEPS,
  "nodev,dev": KEEPS,
  "noexec,exec": KEEPS,
  "noatime,atime": KEEPS,
  "nodiratime,diratime": KEEPS,
  defaults: { runc: "1.1.5 passes it to the file system" },
  "silent,loud": { crun: "1.8.1 does not know them" },
  "iversion,noiversion": { crun: "1.8.1 does not know them" },
  "nosymfollow,symfollow": { crun: "1.8.1 does not know them" },
  shared: { crun: "1.8.1 leaves it private" },
  rshared: { crun: "1.8.1 leaves it private" },
  unbindable: { crun: "1.8.1 leaves it private" },
  runbindable: { crun: "1.8.1 leaves it private" },
  rnoatime: { crun: "1.8.1 does not clear the kind of atime first" },
  rnodiratime: { crun: "1.8.1 does not clear the kind of atime first" },
  rstrictatime: { crun: "1.8.1 does not clear the kind of atime first" },
  rdiratime: { crun: "1.8.1 does not clear the kind of atime first" },
  rnosymfollow: { crun: "1.8.1 does not know it" },
};
const differs = (options: string) => (DIFFERS[options] ? { differs: DIFFERS[options] } : {});

export const mountCases = [
  shows(
    "mounts: in their order",
    (s) => {
      s.mounts.push(
        { destination: "/dev/shm/a", type: "tmpfs", source: "first" },
        { destination: "/dev/shm/a", type: "tmpfs", source: "second" },
      );
    },
    "grep /dev/shm/a /proc/self/mountinfo | sed 's/.*tmpfs //' | cut -d' ' -f1 | tr '\\n' ' '",
    "first second",
  ),
  shows("mounts: the mount point is made", tmpfs(), "stat -c %a /m", "1777"),
  shows(
    "mounts: mode of a tmpfs",
    tmpfs("mode=700", "size=64k"),
    `stat -c %a /m; ${LINE}`,
    /^700\n.*size=64k,mode=700/,
  ),
  shows("mounts: options of the file system", tmpfs("size=64k", "nr_inodes=10"), LINE, /size=64k,nr_inodes=10/),
  ...FLAGS.map(([option, expected]) =>
    shows(`mounts.options ${option}`, tmpfs(option), LINE, expected, differs(option)),
  ),
  ...CLEARED.map(([options, expected]) =>
    shows(`mounts.options ${options.join(",")}`, tmpfs(...options), LINE, expected, differs(options.join())),
  ),
  ...(["private", "slave", "shared", "unbindable"] as const).flatMap((kind) =>
    [kind, `r${kind}`].map((option) =>
      shows(
        `mounts.options ${option}`,
        tmpfs(option),
        LINE,
        {
          private: /\/m rw,relatime - /,
          slave: /\/m rw,relatime (master:\d+ )?- /,
          shared: /\/m rw,relatime shared:\d+ /,
          unbindable: /\/m rw,relatime unbindable /,
        }[kind],
        differs(option),
      ),
    ),
  ),
  does("mounts.options bind: a directory of the bundle", (c) => bound(c, "cat /m/x", "data")),
  does("mounts.options bind: a file", async (c) => {
    const container = prepare(c.container("cat /m", mount({ source: "data/x", options: ["bind"] })));
    expect(await container.says()).toBe("data");
  }),
  does("mounts.type bind without the option", async (c) => {
    const container = prepare(c.container("cat /m/x", mount({ type: "bind", source: "data", options: ["rbind"] })));
    expect(await container.says()).toBe("data");
  }),
  does("mounts.options bind,ro", (c) => bound(c, "cat /m/x; touch /m/y 2>&1 || true", /^data.*Read-only/, "ro")),
  does("mounts.options bind,nosuid,nodev,noexec", (c) =>
    bound(c, LINE, /nosuid,nodev,noexec/, "nosuid", "nodev", "noexec"),
  ),
  does("mounts.options bind: writes reach the source", async (c) => {
    const container = prepare(c.container("echo new > /m/y", bind()));
    expect((await container.launch("run")).code).toBe(0);
    expect(readFileSync(join(container.bundle, "data/y"), "utf8")).toBe("new\n");
  }),
  does("mounts.options bind does not take mounts below", (c) =>
    c.shows("grep -c ' /m/' /proc/self/mountinfo || true", "0", mount({ source: "/dev", options: ["bind"] })),
  ),
  does(
    "mounts.options rbind takes mounts below",
    (c) => c.shows("grep ' /m/pts ' /proc/self/mountinfo", /devpts/, mount({ source: "/dev", options: ["rbind"] })),
    existsSync("/dev/pts/ptmx") ? {} : { missing: "no /dev/pts" },
  ),
  ...recursive(),
  refuses("mounts.source: not there", mount({ source: "nowhere", options: ["bind"] }), /nowhere/),
  refuses("mounts.type: unknown", mount({ type: "nopefs", source: "x" }), /nopefs/),
  refuses("mounts.options: unknown to the file system", tmpfs("nope=1"), /nope/),
  refuses(
    "mounts.destination: missing",
    (s) => {
      s.mounts.push({ type: "tmpfs" } as Mount);
    },
    /destination: required/,
  ),
  shows(
    "mounts.destination: relative is below /",
    (s) => mount({ destination: "m", type: "tmpfs", source: "tmpfs" })(s),
    LINE,
    / \/m /,
  ),
  does(
    "mounts.destination: a link stays in the root",
    async (c) => {
      const container = c.container(
        "grep tmpfs /proc/self/mountinfo | cut -d' ' -f5",
        mount({ destination: "/link/d", type: "tmpfs", source: "tmpfs" }),
      );
      mkdirSync(join(container.rootfs, "etc"));
      symlinkSync("/../../../../etc", join(container.rootfs, "link"));
      expect(await container.says()).toMatch(/^\/etc\/d$/m);
    },
    { spec: "runc" },
  ),
  does(
    "mounts: /proc must be no link",
    async (c) => {
      const container = c.container("true", (s) => {
        s.mounts[0]!.destination = "/plink";
        s.root!.readonly = false;
      });
      symlinkSync("proc", join(container.rootfs, "plink"));
      expect((await container.launch("create")).code).not.toBe(0);
      await c.nothingLeft(container);
    },
    { spec: "runc" },
  ),
  refuses("mounts.destination: over /", mount({ destination: "/", type: "tmpfs", source: "tmpfs" }), /on \/|mounts/, {
    spec: "runc",
  }),
  refuses(
    "mounts.destination: in /proc",
    mount({ destination: "/proc/sys/kernel", type: "tmpfs", source: "tmpfs" }),
    /\/proc/,
    { spec: "runc", differs: { crun: "mounts it", runc: "1.1.5 mounts a tmpfs there" } },
  ),
  does(
    "mounts.destination: /proc/uptime may be bound",
    async (c) => {
      const container = prepare(
        c.container("cat /proc/uptime", mount({ destination: "/proc/uptime", source: "data/x", options: ["bind"] })),
      );
      expect(await container.says()).toBe("data");
    },
    { spec: "runc" },
  ),
  does("mounts.options tmpcopyup", async (c) => {
    const container = c.container("ls /m; stat -c %a /m/f; readlink /m/l", tmpfs("tmpcopyup"));
    mkdirSync(join(container.rootfs, "m"));
    writeFileSync(join(container.rootfs, "m/f"), "f");
    chmodSync(join(container.rootfs, "m/f"), 0o640);
    symlinkSync("f", join(container.rootfs, "m/l"));
    expect(await container.says()).toBe("f\nl\n640\nf\n");
  }),
  shows(
    "default file systems",
    {},
    "cut -d' ' -f5- /proc/self/mountinfo | sed 's/ .* - / /' | cut -d' ' -f1,2",
    /\/proc proc\n(.*\n)*\/dev tmpfs\n(.*\n)*\/dev\/pts devpts\n(.*\n)*\/dev\/shm tmpfs\n(.*\n)*\/sys sysfs\n/,
    { spec: "config-linux.md#default-filesystems" },
  ),
];

/** r-options set the attribute on all mounts of a tree: here a bind of /dev, which has /dev/pts below. */
function recursive() {
  const rows: readonly [option: string, expected: RegExp][] = [
    ["rro", /pts ro,/],
    ["rnosuid", /nosuid/],
    ["rnodev", /nodev/],
    ["rnoexec", /noexec/],
    ["rnoatime", /noatime/],
    ["rnodiratime", /nodiratime/],
    ["rnosymfollow", /nosymfollow/],
    ["rrelatime", /,relatime/],
    ["rstrictatime", /^(?!.*(rel|no)atime)/],
    ["rrw", /pts rw,/],
    ["rdev", /^(?!.*nodev)/],
    ["rexec", /^(?!.*noexec)/],
    ["rsuid", /^(?!.*nosuid)/],
    ["rdiratime", /^(?!.*nodiratime)/],
    ["rsymfollow", /^(?!.*nosymfollow)/],
  ];
  return rows.map(([option, expected]) =>
    does(
      `mounts.options ${option}: mounts below too`,
      (c) =>
        c.shows(
          "grep ' /m/pts ' /proc/self/mountinfo",
          expected,
          mount({ source: "/dev", options: ["rbind", option] }),
        ),
      {
        ...differs(option),
        ...(existsSync("/dev/pts/ptmx") ? {} : { missing: "no /dev/pts" }),
      },
    ),
  );
}

const idmapped = section("config.md#posix-platform-mounts");
const MAP = {
  uidMappings: [{ containerID: 0, hostID: 1000, size: 10 }],
  gidMappings: [{ containerID: 0, hostID: 2000, size: 10 }],
};
const noIdmap = { runc: "1.1.5 does not know id-mapped mounts" };

export const idmapCases = [
  ...["idmap", "ridmap"].map((option) =>
    idmapped.does(
      `mounts.options ${option}: with the mount's mappings`,
      async (c) => {
        const container = prepare(
          c.container("stat -c %u:%g /m/x", mount({ source: "data", options: ["bind", option], ...MAP })),
        );
        expect(await container.says()).toBe("1000:2000\n");
      },
      { differs: { ...noIdmap, crun: "1.8.1 cannot open a relative source for it" } },
    ),
  ),
  idmapped.refuses(
    "mounts.options idmap: no mappings, no user namespace",
    mount({ source: "/bin", options: ["bind", "idmap"] }),
    /idmap|uidMappings/,
    { differs: noIdmap },
  ),
  idmapped.refuses(
    "mounts.uidMappings: without gidMappings",
    mount({ source: "/bin", options: ["bind"], uidMappings: MAP.uidMappings }),
    /gidMappings/,
    { differs: noIdmap },
  ),
];
