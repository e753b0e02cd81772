import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { asRoot, type Change, cannotRun, GID, PlainRuntime, SUBID_FILES, SUBIDS, UID } from "./user.ts";

/** In sbin, which not everybody's PATH has. crun is no reference here: as a plain user it refuses hybrid cgroups. */
const runc = Bun.which("runc", { PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` });
const why = cannotRun ?? (!asRoot ? "not root, who gives subordinate ids" : runc ? undefined : "no runc");

const without =
  (type: string): Change =>
  (s) => {
    s.linux.namespaces = s.linux.namespaces!.filter((namespace) => namespace.type !== type);
  };

/** Each of the same output, or refused by both. */
const cases: [what: string, script: string, change: Change][] = [
  [
    "ids, rights, /dev",
    "id -u; cat /proc/self/uid_map /proc/self/setgroups; grep -E '^(Cap|NoNew)' /proc/self/status; umask; pwd; hostname",
    () => {},
  ],
  [
    "several ids, another user, groups",
    "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map",
    (s) => {
      s.linux.uidMappings = [
        { containerID: 0, hostID: UID, size: 1 },
        { containerID: 1, hostID: SUBIDS.first, size: 100 },
      ];
      s.linux.gidMappings = [
        { containerID: 0, hostID: GID, size: 1 },
        { containerID: 1, hostID: SUBIDS.first, size: 100 },
      ];
      s.process.user = { uid: 7, gid: 8 };
    },
  ],
  [
    "ambient capabilities",
    "grep ^Cap /proc/self/status",
    (s) => {
      const caps = ["CAP_SYS_ADMIN", "CAP_NET_RAW"];
      s.process.capabilities = { bounding: caps, effective: caps, permitted: caps, inheritable: caps, ambient: caps };
    },
  ],
  [
    "oom_score_adj that rises",
    "cat /proc/self/oom_score_adj",
    (s) => {
      s.process.oomScoreAdj = 500;
    },
  ],
  [
    "oom_score_adj that falls",
    "cat /proc/self/oom_score_adj",
    (s) => {
      s.process.oomScoreAdj = -500;
    },
  ],
  [
    "a network of its own",
    "cat /sys/class/net/lo/flags",
    (s) => {
      s.linux.namespaces!.push({ type: "network" });
      s.mounts = s.mounts!.map((m) =>
        m.destination === "/sys" ? { ...m, type: "sysfs", source: "sysfs", options: ["ro"] } : m,
      );
    },
  ],
  [
    "an own sysctl",
    "cat /proc/sys/kernel/shmmax",
    (s) => {
      s.linux.sysctl = { "kernel.shmmax": "12345678" };
    },
  ],
  [
    "device rules, which nobody can set here",
    "id -u",
    (s) => {
      s.linux.resources = { devices: [{ allow: false, access: "rwm" }] };
    },
  ],
  [
    "a device of the host's",
    "ls -ln /dev/tty",
    (s) => {
      s.linux.devices = [{ path: "/dev/tty", type: "c", major: 5, minor: 0 }];
    },
  ],
  [
    "a user who is not mapped",
    "id",
    (s) => {
      s.process.user.uid = 5;
    },
  ],
  ["proc with the host's pids", "true", without("pid")],
  [
    "sysfs with the host's network",
    "true",
    (s) => {
      s.mounts!.push({ destination: "/sys", type: "sysfs", source: "sysfs" });
    },
  ],
  [
    "a part of a tree with mounts",
    "true",
    (s) => {
      s.mounts!.push({ destination: "/home", type: "bind", source: "/sys", options: ["bind"] });
    },
  ],
  [
    "a file system for root alone",
    "true",
    (s) => {
      s.mounts!.push({ destination: "/home", type: "ext4", source: "/dev/null" });
    },
  ],
  [
    "a rlimit above one's own",
    "ulimit -n",
    (s) => {
      s.process.rlimits = [{ type: "RLIMIT_NOFILE", soft: 2 ** 22, hard: 2 ** 22 }];
    },
  ],
  [
    "a command that is not there",
    "",
    (s) => {
      s.process.args = ["/nope"];
    },
  ],
];

describe.skipIf(why !== undefined)(`rootless: as runc${why ? ` (skipped: ${why})` : ""}`, () => {
  let user: PlainRuntime;
  beforeAll(() => {
    user = new PlainRuntime({ files: SUBID_FILES });
  });
  afterAll(() => user.close());

  test.each(cases)("%s", async (what, script, change) => {
    const bundle = user.bundle(script, (s) => {
      // That runc is older than the specification's last version.
      s.ociVersion = "1.0.2";
      change(s);
    });
    const run = async (argv: readonly string[], env: Record<string, string | undefined> = {}) => {
      const root = join(user.dir, argv.length === 1 ? "runc" : "ours");
      const { code, out, err } = await user.output([...argv, "--root", root, "run", "-b", bundle, "same"], env);
      return { result: code === 0 ? out : "refused", err };
    };
    const ours = await run(user.argv);
    const theirs = await run([runc!], { INRO_DOOR: undefined });
    expect(ours.result, `${what}\nours: ${ours.err}\nrunc: ${theirs.err}`).toBe(theirs.result);
  });
});
