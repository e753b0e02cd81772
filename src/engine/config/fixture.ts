import { DEFAULT_CAPABILITIES } from "../../security/capabilities.ts";
import { MASKED_PATHS } from "../../security/paths.ts";
import type { Spec } from "../../spec/oci-runtime.ts";
import type { HostFacts } from "./host-facts.ts";
import type { HostFiles, HostNode } from "./host-files.ts";
import { planMounts } from "./mount-plan.ts";
import { type SpecInput, toSpec } from "./to-spec.ts";
import { validateCreate } from "./validate-create.ts";

/** A machine for the tests: two CPUs, cgroup v2, an engine without CAP_SYS_RESOURCE. */
export const FACTS: HostFacts = {
  kernel: { major: 6, minor: 12 },
  abi: "x86_64",
  hostname: "machine",
  cgroup: "v2",
  cpus: "0-1",
  mems: "0",
  capabilities: [...DEFAULT_CAPABILITIES, "CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"],
  maskedPaths: MASKED_PATHS,
  hardLimits: { RLIMIT_NOFILE: 4096, RLIMIT_CORE: Infinity },
  oomScoreAdj: 0,
  apparmor: false,
  selinux: false,
  seccomp: false,
  timeNamespace: true,
  swapLimit: true,
  blkioWeight: true,
  cpuRealtime: true,
};

const node = (type: HostNode["type"], major = 0, minor = 0, mode = 0o600): HostNode => ({
  type,
  major,
  minor,
  mode,
  uid: 0,
  gid: 0,
});

const NODES: Record<string, HostNode> = {
  "/dev": node("directory"),
  "/dev/fuse": node("c", 10, 229, 0o666),
  "/dev/null": node("c", 1, 3, 0o666),
  "/dev/pts": node("directory"),
  "/dev/pts/0": node("c", 136, 0),
  "/dev/sda": node("b", 8, 0, 0o660),
  "/dev/snd": node("directory"),
  "/dev/snd/controlC0": node("c", 116, 2, 0o660),
  "/dev/snd/seq": node("c", 116, 1, 0o660),
  "/dev/tty1": node("c", 4, 1),
  "/etc/passwd": node("other"),
};

/** A small /dev, `/mnt/shared` on a shared mount and `/mnt/slave` on a slave one. */
export const FILES: HostFiles = {
  stat: (path) => NODES[path],
  list: (path) =>
    Object.keys(NODES)
      .filter((name) => name.startsWith(`${path}/`) && !name.slice(path.length + 1).includes("/"))
      .map((name) => name.slice(path.length + 1)),
  mountinfo: () =>
    [
      "30 21 0:20 / /mnt/shared rw shared:7 - tmpfs tmpfs rw",
      "31 21 0:21 / /mnt/slave rw master:7 - tmpfs tmpfs rw",
      "32 21 0:22 / /mnt/a\\040b rw shared:8 - tmpfs tmpfs rw",
      "21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw",
    ].join("\n"),
};

const PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/srv/web:/bin/sh\nfar:x:90000:90000::/:/bin/sh\n";
const GROUP = "root:x:0:\nweb:x:1000:\nvideo:x:44:web\naudio:x:63:\n";

/** The root of an image with users root, web (groups web, video) and far (uid 90000). */
export const lookup = (path: string): string | undefined => ({ "/etc/passwd": PASSWD, "/etc/group": GROUP })[path];

export const ID = "0123456789ab".padEnd(64, "c");
export const ETC = { hostname: "/run/c/hostname", hosts: "/run/c/hosts", resolv: "/run/c/resolv.conf" };

/** The spec of `{Image, Cmd: ["sh"]}` with `body` over it; volumes are below /volumes. */
export function spec(body: object, more: Partial<SpecInput> = {}, facts: HostFacts = FACTS): Spec {
  const { config, host } = validateCreate({ Image: "busybox", Cmd: ["sh"], ...body }, undefined, facts);
  const volumes = planMounts(config, host).map((mount) =>
    mount.type === "volume" ? { ...mount, source: `/volumes/${mount.source || "anonymous"}` } : mount,
  );
  return toSpec({ id: ID, config, host, rootfs: { lookup }, files: ETC, volumes, facts, hostFiles: FILES, ...more });
}
