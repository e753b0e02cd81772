import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { conflict } from "../../base/errors.ts";
import { MASKED_PATHS, READONLY_PATHS } from "../../security/paths.ts";
import type { Spec } from "../../spec/oci-runtime.ts";
import { OCI_VERSION } from "./version.ts";

/** Writes a config.json to start from: `sh` on a terminal, in namespaces of its own, with few rights. */
export function writeSpec(bundle: string, rootless: boolean): void {
  const path = join(bundle, "config.json");
  if (existsSync(path)) throw conflict(`file ${path} exists; remove it first`);
  writeFileSync(path, `${JSON.stringify(defaultSpec(rootless), undefined, "\t")}\n`, { mode: 0o666 });
}

const RIGHTS = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

export function defaultSpec(rootless: boolean): Spec {
  const ids = (id: number) => [{ containerID: 0, hostID: id, size: 1 }];
  const nothing = ["nosuid", "noexec", "nodev"];
  return {
    ociVersion: OCI_VERSION,
    process: {
      terminal: true,
      user: { uid: 0, gid: 0 },
      args: ["sh"],
      env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
      cwd: "/",
      capabilities: { bounding: RIGHTS, effective: RIGHTS, permitted: RIGHTS },
      rlimits: [{ type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
      noNewPrivileges: true,
    },
    root: { path: "rootfs", readonly: true },
    hostname: "inro",
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      {
        destination: "/dev",
        type: "tmpfs",
        source: "tmpfs",
        options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
      },
      {
        destination: "/dev/pts",
        type: "devpts",
        source: "devpts",
        options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", ...(rootless ? [] : ["gid=5"])],
      },
      { destination: "/dev/shm", type: "tmpfs", source: "shm", options: [...nothing, "mode=1777", "size=65536k"] },
      { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: nothing },
      rootless
        ? { destination: "/sys", type: "none", source: "/sys", options: ["rbind", ...nothing, "ro"] }
        : { destination: "/sys", type: "sysfs", source: "sysfs", options: [...nothing, "ro"] },
      { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: [...nothing, "relatime", "ro"] },
    ],
    linux: {
      ...(rootless && {
        uidMappings: ids(process.geteuid?.() ?? 0),
        gidMappings: ids(process.getegid?.() ?? 0),
      }),
      ...(!rootless && { resources: { devices: [{ allow: false, access: "rwm" }] } }),
      namespaces: (["pid", "ipc", "uts", "mount", "cgroup", rootless ? "user" : "network"] as const).map((type) => ({
        type,
      })),
      maskedPaths: [...MASKED_PATHS],
      readonlyPaths: [...READONLY_PATHS],
    },
  };
}
