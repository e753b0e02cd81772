import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { section } from "../case.ts";
import { noAppArmor, noNuma, noResctrl, noSELinux } from "../machine.ts";

const { shows, refuses, does } = section("config-linux.md#personality");
const OLD = { crun: "1.8.1 does not know it", runc: "1.1.5 does not know it" };

const policy = section("config-linux.md#memory-policy");
const memory = (memoryPolicy: object) => ({ linux: { memoryPolicy } });
const net = section("config-linux.md#network-devices");
/** The runtime runs in a network namespace of the case's own, in which there is v0. */
const WITH_V0 = [
  ...["/bin/busybox", "unshare", "-n", "/bin/busybox", "sh", "-c"],
  ...['ip link add v0 type veth && ip addr add 10.9.9.1/24 dev v0 && exec "$@"', "sh"],
];
const given = (netDevices: object) => ({ linux: { netDevices } });

export const linuxCases = [
  shows(
    "linux.personality LINUX",
    { linux: { personality: { domain: "LINUX" } } },
    "cat /proc/self/personality",
    "00000000",
  ),
  shows(
    "linux.personality LINUX32",
    { linux: { personality: { domain: "LINUX32" } } },
    "cat /proc/self/personality",
    "00000008",
    { differs: { runc: "1.1.5 does not know it" } },
  ),
  refuses("linux.personality: unknown domain", { linux: { personality: { domain: "NOPE" } } }, /personality\.domain/, {
    differs: { runc: "1.1.5 does not know it" },
  }),
  refuses(
    "linux.personality: flags",
    { linux: { personality: { domain: "LINUX", flags: ["NOPE"] } } },
    /personality\.flags/,
    { differs: { runc: "1.1.5 does not know it", crun: "takes them" } },
  ),
  policy.shows(
    "linux.memoryPolicy MPOL_BIND",
    memory({ mode: "MPOL_BIND", nodes: "0" }),
    "cut -d' ' -f2 /proc/self/numa_maps | sort -u",
    "bind:0",
    { missing: noNuma, differs: OLD },
  ),
  policy.shows(
    "linux.memoryPolicy MPOL_PREFERRED",
    memory({ mode: "MPOL_PREFERRED", nodes: "0" }),
    "cut -d' ' -f2 /proc/self/numa_maps | sort -u",
    /prefer/,
    { missing: noNuma, differs: OLD },
  ),
  policy.shows(
    "linux.memoryPolicy MPOL_INTERLEAVE, flags",
    memory({ mode: "MPOL_INTERLEAVE", nodes: "0", flags: ["MPOL_F_STATIC_NODES"] }),
    "cut -d' ' -f2 /proc/self/numa_maps | sort -u",
    /interleave=static:0/,
    { missing: noNuma, differs: OLD },
  ),
  policy.shows(
    "linux.memoryPolicy MPOL_DEFAULT",
    memory({ mode: "MPOL_DEFAULT" }),
    "cut -d' ' -f2 /proc/self/numa_maps | sort -u",
    "default",
    { missing: noNuma },
  ),
  policy.refuses("linux.memoryPolicy: unknown mode", memory({ mode: "MPOL_NOPE" }), /memoryPolicy\.mode/, {
    differs: OLD,
  }),
  policy.refuses(
    "linux.memoryPolicy: unknown flag",
    memory({ mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_NOPE"] }),
    /memoryPolicy\.flags/,
    { differs: OLD },
  ),
  policy.refuses(
    "linux.memoryPolicy: no list of nodes",
    memory({ mode: "MPOL_BIND", nodes: "x" }),
    /memoryPolicy\.nodes|memoryPolicy/,
    { differs: OLD },
  ),
  net.does(
    "linux.netDevices: moved, renamed, up, with its address",
    async (c) => {
      const container = c.container("ip -o addr show eth7; ip -o link show eth7", given({ v0: { name: "eth7" } }));
      await container.ok("run", [], { wrap: WITH_V0 });
      expect(container.output()).toMatch(/eth7 +inet 10\.9\.9\.1\/24/);
      expect(container.output()).toMatch(/eth7@?\S*: <[^>]*\bUP\b/);
    },
    { differs: OLD },
  ),
  net.does(
    "linux.netDevices: the name is taken",
    async (c) => {
      const container = c.container("true", given({ v0: { name: "lo" } }));
      expect((await container.launch("create", [], { wrap: WITH_V0 })).code).not.toBe(0);
      await c.nothingLeft(container);
    },
    { differs: OLD },
  ),
  net.refuses("linux.netDevices: one that is not there", { linux: { netDevices: { nope0: {} } } }, /nope0/, {
    differs: OLD,
  }),
  net.refuses("linux.netDevices: loopback cannot move", { linux: { netDevices: { lo: {} } } }, /lo\b/, {
    differs: OLD,
  }),
  net.refuses(
    "linux.netDevices: without a network namespace",
    (s) => {
      s.linux.namespaces = s.linux.namespaces!.filter(({ type }) => type !== "network");
      s.linux.netDevices = { nope0: {} };
    },
    /netDevices/,
    { differs: OLD },
  ),
  net.refuses("linux.netDevices: no name of an interface", { linux: { netDevices: { "a/b": {} } } }, /netDevices/, {
    differs: OLD,
  }),
  refuses(
    "linux.intelRdt: no resctrl",
    { linux: { intelRdt: { closID: "x", l3CacheSchema: "L3:0=f" } } },
    /intelRdt|resctrl/,
    {
      spec: "config-linux.md#intel-rdt",
      ...(noResctrl ? {} : { missing: "resctrl is there" }),
      differs: { crun: "1.8.1 does not know it" },
    },
  ),
  does(
    "process.apparmorProfile",
    async (c) => {
      await c.shows("cat /proc/self/attr/current", "unconfined", { process: { apparmorProfile: "unconfined" } });
    },
    { spec: "config.md#linux-process", missing: noAppArmor, vm: true },
  ),
  refuses("process.apparmorProfile: not loaded", { process: { apparmorProfile: "nope-profile" } }, /apparmor/i, {
    spec: "config.md#linux-process",
    vm: true,
  }),
  refuses(
    "process.selinuxLabel: no SELinux",
    { process: { selinuxLabel: "system_u:system_r:container_t:s0" } },
    /selinux/i,
    { spec: "config.md#linux-process", ...(noSELinux ? {} : { missing: "SELinux is there" }) },
  ),
  refuses(
    "linux.mountLabel: no SELinux",
    { linux: { mountLabel: "system_u:object_r:container_file_t:s0" } },
    /mountLabel|selinux|context/i,
    {
      spec: "config-linux.md#mount-label",
      ...(noSELinux ? {} : { missing: "SELinux is there" }),
      differs: { crun: "passes over it" },
    },
  ),
  does(
    "a keyring of its own",
    async (c) => {
      const container = c.container("cat /proc/keys", { linux: { maskedPaths: [] } });
      expect(await container.says()).toMatch(new RegExp(`keyring +(_ses\\.)?${container.id}`));
    },
    { spec: "runc" },
  ),
  does(
    "--no-new-keyring",
    async (c) => {
      const container = c.container("cat /proc/keys", { linux: { maskedPaths: [] } });
      await container.ok("run", ["--no-new-keyring"]);
      expect(container.output()).not.toContain(container.id);
    },
    { spec: "runc" },
  ),
  does(
    "process.execCPUAffinity",
    async (c) => {
      const container = await c.up({ process: { execCPUAffinity: { initial: "0", final: "0" } } });
      expect(await container.sh("grep Cpus_allowed_list /proc/self/status")).toBe("Cpus_allowed_list:\t0");
    },
    {
      spec: "config.md#linux-process",
      differs: OLD,
      ...(/Cpus_allowed_list:\t0$/m.test(readFileSync("/proc/self/status", "utf8"))
        ? { missing: "one processor" }
        : {}),
    },
  ),
  refuses(
    "process.execCPUAffinity: no list",
    { process: { execCPUAffinity: { initial: "x" } } },
    /execCPUAffinity\.initial/,
    { spec: "config.md#linux-process", differs: OLD },
  ),
];
