import { describe, expect, test } from "bun:test";
import { DEFAULT_CAPABILITIES } from "../../security/capabilities.ts";
import { MASKED_PATHS, READONLY_PATHS } from "../../security/paths.ts";
import type { Mount, Spec } from "../../spec/oci-runtime.ts";
import { ETC, FACTS, FILES, ID, lookup, spec } from "./fixture.ts";
import { toSpec } from "./to-spec.ts";
import { validateCreate } from "./validate-create.ts";

const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const caps = [...DEFAULT_CAPABILITIES];

const PROC: Mount = { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] };
const DEV: Mount = {
  destination: "/dev",
  type: "tmpfs",
  source: "tmpfs",
  options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
};
const PTS: Mount = {
  destination: "/dev/pts",
  type: "devpts",
  source: "devpts",
  options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
};
const SYS: Mount = {
  destination: "/sys",
  type: "sysfs",
  source: "sysfs",
  options: ["nosuid", "noexec", "nodev", "ro"],
};
const CGROUP: Mount = {
  destination: "/sys/fs/cgroup",
  type: "cgroup",
  source: "cgroup",
  options: ["nosuid", "noexec", "nodev", "ro"],
};
const MQUEUE: Mount = {
  destination: "/dev/mqueue",
  type: "mqueue",
  source: "mqueue",
  options: ["nosuid", "noexec", "nodev"],
};
const SHM: Mount = {
  destination: "/dev/shm",
  type: "tmpfs",
  source: "shm",
  options: ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"],
};
const bind = (destination: string, source: string, ...options: string[]): Mount => ({
  destination,
  type: "bind",
  source,
  options: options.length > 0 ? options : ["rbind", "rprivate"],
});
const ETC_MOUNTS = [
  bind("/etc/resolv.conf", ETC.resolv),
  bind("/etc/hostname", ETC.hostname),
  bind("/etc/hosts", ETC.hosts),
];
const MOUNTS = [PROC, DEV, PTS, SYS, CGROUP, MQUEUE, SHM, ...ETC_MOUNTS];

const RULES = [
  { allow: false, type: "a", access: "rwm" },
  { allow: true, type: "c", access: "m" },
  { allow: true, type: "b", access: "m" },
  ...[
    [1, 3],
    [1, 5],
    [1, 7],
    [1, 8],
    [1, 9],
    [5, 0],
    [5, 1],
    [5, 2],
  ].map(([major, minor]) => ({ allow: true, type: "c", major, minor, access: "rwm" })),
  { allow: true, type: "c", major: 136, access: "rwm" },
];

const NET_SYSCTLS = { "net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647" };

/** What `{Image, Cmd: ["sh"]}` becomes; the other goldens say what differs. */
const PLAIN = {
  ociVersion: "1.2.1",
  root: { path: "rootfs", readonly: false },
  process: {
    terminal: false,
    user: { uid: 0, gid: 0, additionalGids: [0] },
    args: ["sh"],
    env: [PATH, "HOSTNAME=0123456789ab", "HOME=/root"],
    cwd: "/",
    capabilities: { bounding: caps, effective: caps, permitted: caps },
    noNewPrivileges: false,
  },
  hostname: "0123456789ab",
  mounts: MOUNTS,
  linux: {
    namespaces: [
      { type: "mount" },
      { type: "network" },
      { type: "uts" },
      { type: "pid" },
      { type: "ipc" },
      { type: "cgroup" },
      { type: "time" },
    ],
    devices: [],
    cgroupsPath: `/inro/${ID}`,
    resources: { devices: RULES },
    sysctl: NET_SYSCTLS,
    maskedPaths: [...MASKED_PATHS],
    readonlyPaths: [...READONLY_PATHS],
  },
} as unknown as Spec;

const golden = (process: object, linux: object, rest: object = {}): unknown => ({
  ...PLAIN,
  ...rest,
  process: { ...PLAIN.process, ...process },
  linux: { ...PLAIN.linux, ...linux },
});

describe("whole specs", () => {
  test("plain", () => {
    expect(spec({})).toEqual(PLAIN);
  });

  test("interactive shell of a user, with a terminal, limits and a working directory", () => {
    const made = spec({
      Tty: true,
      User: "web",
      WorkingDir: "/srv",
      Hostname: "www",
      Domainname: "example.org",
      Env: ["LANG=C", "PATH=/bin", "LANG=en"],
      HostConfig: {
        ConsoleSize: [24, 80],
        Memory: 64 << 20,
        NanoCpus: 1.5e9,
        CpusetCpus: "0",
        PidsLimit: 100,
        OomScoreAdj: 500,
        GroupAdd: ["audio"],
        Ulimits: [
          { Name: "nofile", Soft: 1024, Hard: 2048 },
          { Name: "core", Soft: 0, Hard: -1 },
        ],
        SecurityOpt: ["no-new-privileges"],
        CgroupParent: "batch",
        Annotations: { "org.example.a": "1" },
      },
    });
    expect(made).toEqual(
      golden(
        {
          terminal: true,
          consoleSize: { height: 24, width: 80 },
          user: { uid: 1000, gid: 1000, additionalGids: [1000, 44, 63] },
          env: ["PATH=/bin", "HOSTNAME=www", "TERM=xterm", "LANG=en", "HOME=/srv/web"],
          cwd: "/srv",
          capabilities: { bounding: caps },
          rlimits: [
            { type: "RLIMIT_NOFILE", soft: 1024, hard: 2048 },
            { type: "RLIMIT_CORE", soft: 0, hard: 2 ** 64 },
          ],
          noNewPrivileges: true,
          oomScoreAdj: 500,
        },
        {
          cgroupsPath: `/batch/${ID}`,
          resources: {
            devices: RULES,
            memory: { limit: 64 << 20, swap: 128 << 20 },
            cpu: { quota: 150000, period: 100000, cpus: "0" },
            pids: { limit: 100 },
          },
        },
        { hostname: "www", domainname: "example.org", annotations: { "org.example.a": "1" } },
      ) as Spec,
    );
  });

  test("privileged", () => {
    const all = [...FACTS.capabilities].sort((a, b) => CAP_ORDER.indexOf(a) - CAP_ORDER.indexOf(b));
    const rw = ({ options = [], ...mount }: Mount) => ({ ...mount, options: options.filter((o) => o !== "ro") });
    const device = (path: string, type: string, major: number, minor: number, fileMode: number) => {
      return { path, type, major, minor, fileMode, uid: 0, gid: 0 };
    };
    expect(spec({ HostConfig: { Privileged: true } })).toEqual(
      golden(
        { capabilities: { bounding: all, effective: all, permitted: all } },
        {
          devices: [
            device("/dev/fuse", "c", 10, 229, 0o666),
            device("/dev/sda", "b", 8, 0, 0o660),
            device("/dev/snd/controlC0", "c", 116, 2, 0o660),
            device("/dev/snd/seq", "c", 116, 1, 0o660),
          ],
          resources: { devices: [{ allow: true, type: "a", access: "rwm" }] },
          maskedPaths: [],
          readonlyPaths: [],
        },
        { mounts: [PROC, DEV, PTS, rw(SYS), rw(CGROUP), MQUEUE, SHM, ...ETC_MOUNTS] },
      ) as Spec,
    );
  });

  test("the host's namespaces", () => {
    const made = spec({
      HostConfig: { NetworkMode: "host", PidMode: "host", IpcMode: "host", UTSMode: "host", CgroupnsMode: "host" },
    });
    const { hostname: _, ...rest } = golden(
      { env: [PATH, "HOSTNAME=machine", "HOME=/root"] },
      { namespaces: [{ type: "mount" }, { type: "time" }], sysctl: {} },
      { mounts: [PROC, DEV, PTS, SYS, CGROUP, MQUEUE, bind("/dev/shm", "/dev/shm"), ...ETC_MOUNTS] },
    ) as Spec;
    expect(made).toEqual(rest);
  });

  test("the namespaces of another container, and none of its files", () => {
    const { config, host } = validateCreate(
      {
        Image: "x",
        Cmd: ["sh"],
        HostConfig: { NetworkMode: "container:web", PidMode: "container:web", IpcMode: "none" },
      },
      undefined,
      FACTS,
    );
    const namespaceOf = (id: string, type: string) => `/proc/${id === "web" ? 77 : 0}/ns/${type}`;
    const made = toSpec({
      id: ID,
      config,
      host,
      rootfs: { lookup },
      volumes: [],
      facts: FACTS,
      hostFiles: FILES,
      namespaceOf,
    });
    expect(made).toEqual(
      golden(
        {},
        {
          namespaces: [
            { type: "mount" },
            { type: "network", path: "/proc/77/ns/network" },
            { type: "uts" },
            { type: "pid", path: "/proc/77/ns/pid" },
            { type: "ipc" },
            { type: "cgroup" },
            { type: "time" },
          ],
          sysctl: {},
        },
        { mounts: [PROC, DEV, PTS, SYS, CGROUP, MQUEUE] },
      ) as Spec,
    );
  });

  test("a read-only root with binds, volumes and tmpfs", () => {
    const made = spec({
      Volumes: { "/data": {}, "/cache": {} },
      HostConfig: {
        ReadonlyRootfs: true,
        Binds: ["/src:/a/b:ro", "data:/data", "/h:/etc/hosts"],
        Mounts: [
          {
            Type: "bind",
            Source: "/mnt/shared/x",
            Target: "/a",
            BindOptions: { Propagation: "rshared", NonRecursive: true },
          },
          { Type: "tmpfs", Target: "/scratch", TmpfsOptions: { SizeBytes: 4096, Mode: 0o700 } },
        ],
        Tmpfs: { "/run": "exec,size=1m" },
        ShmSize: 1 << 20,
      },
    });
    const ro = (mount: Mount) => ({ ...mount, options: [...(mount.options ?? []), "ro"] });
    expect(made).toEqual(
      golden(
        {},
        {},
        {
          root: { path: "rootfs", readonly: true },
          mounts: [
            PROC,
            DEV,
            PTS,
            SYS,
            CGROUP,
            MQUEUE,
            { ...SHM, options: ["nosuid", "noexec", "nodev", "mode=1777", "size=1048576"] },
            bind("/data", "/volumes/data"),
            bind("/a", "/mnt/shared/x", "bind", "rshared"),
            {
              destination: "/scratch",
              type: "tmpfs",
              source: "tmpfs",
              options: ["noexec", "nosuid", "nodev", "rprivate", "size=4096", "mode=700"],
            },
            {
              destination: "/run",
              type: "tmpfs",
              source: "tmpfs",
              options: ["nosuid", "nodev", "rprivate", "exec", "size=1m"],
            },
            bind("/cache", "/volumes/anonymous"),
            ro(bind("/etc/resolv.conf", ETC.resolv)),
            ro(bind("/etc/hostname", ETC.hostname)),
            bind("/a/b", "/src", "rbind", "rprivate", "rro"),
            bind("/etc/hosts", "/h"),
          ],
        },
      ) as Spec,
    );
  });

  test("devices, rules, sysctls and block I/O", () => {
    const made = spec({
      HostConfig: {
        Devices: [
          { PathOnHost: "/dev/fuse", CgroupPermissions: "rw" },
          { PathOnHost: "/dev/snd", PathInContainer: "/dev/sound/" },
        ],
        DeviceCgroupRules: ["c 10:* rm"],
        Sysctls: { "kernel/msgmax": "8192", "net.ipv4.ip_unprivileged_port_start": "1024" },
        BlkioWeight: 300,
        BlkioDeviceReadBps: [{ Path: "/dev/sda", Rate: 1000 }],
      },
    });
    const node = (path: string, major: number, minor: number, fileMode: number) => {
      return { path, type: "c", major, minor, fileMode, uid: 0, gid: 0 };
    };
    const rule = (major: number, minor: number | undefined, access: string) => {
      return { allow: true, type: "c", major, ...(minor === undefined ? {} : { minor }), access };
    };
    expect(made).toEqual(
      golden(
        {},
        {
          devices: [
            node("/dev/fuse", 10, 229, 0o666),
            node("/dev/sound/controlC0", 116, 2, 0o660),
            node("/dev/sound/seq", 116, 1, 0o660),
          ],
          resources: {
            devices: [
              ...RULES,
              rule(10, 229, "rw"),
              rule(116, 2, "rwm"),
              rule(116, 1, "rwm"),
              rule(10, undefined, "rm"),
            ],
            blockIO: { weight: 300, throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 1000 }] },
          },
          sysctl: { ...NET_SYSCTLS, "kernel.msgmax": "8192", "net.ipv4.ip_unprivileged_port_start": "1024" },
        },
      ) as Spec,
    );
  });

  test("a user namespace", () => {
    const made = spec(
      {
        HostConfig: {
          UsernsMode: "auto",
          Binds: ["/src:/dst"],
          Devices: [{ PathOnHost: "/dev/fuse", PathInContainer: "/dev/f" }],
        },
      },
      { userns: { hostID: 100000, size: 65536, path: "/proc/7/ns/user" } },
    );
    const map = [{ containerID: 0, hostID: 100000, size: 65536 }];
    const idmap = ({ destination, source = "" }: Mount) => bind(destination, source, "rbind", "rprivate", "idmap");
    expect(made).toEqual(
      golden(
        {},
        {
          namespaces: [
            ...(PLAIN.linux?.namespaces ?? []).slice(0, -1),
            { type: "user", path: "/proc/7/ns/user" },
            { type: "time" },
          ],
          uidMappings: map,
          gidMappings: map,
          resources: { devices: [...RULES, { allow: true, type: "c", major: 10, minor: 229, access: "rwm" }] },
          sysctl: { "net.ipv4.ip_unprivileged_port_start": "0" },
        },
        {
          mounts: [
            ...MOUNTS.slice(0, 7),
            idmap(bind("/dst", "/src")),
            ...ETC_MOUNTS.map(idmap),
            bind("/dev/f", "/dev/fuse", "bind", "rprivate"),
          ],
        },
      ) as Spec,
    );
  });
});

const CAP_ORDER = (
  "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP CAP_NET_BIND_SERVICE " +
  "CAP_NET_ADMIN CAP_NET_RAW CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_ADMIN CAP_MKNOD CAP_AUDIT_WRITE CAP_SETFCAP"
).split(" ");
