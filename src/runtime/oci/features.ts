import { CAPABILITIES } from "../../security/capabilities.ts";
import { MOUNT_WORDS } from "../mount-options.ts";
import { HOOK_KINDS } from "./config.ts";
import { OCI_VERSION } from "./version.ts";

/** What this program knows, whatever the machine offers (features.md, features-linux.md). */
export function features(): object {
  return {
    ociVersionMin: "1.0.0",
    ociVersionMax: OCI_VERSION,
    hooks: HOOK_KINDS,
    mountOptions: MOUNT_WORDS.toSorted(),
    linux: {
      namespaces: ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
      capabilities: CAPABILITIES,
      cgroup: { v1: true, v2: true, systemd: true, systemdUser: true, rdma: true },
      seccomp: {
        enabled: true,
        actions: "ALLOW ERRNO KILL KILL_PROCESS KILL_THREAD LOG TRACE TRAP".split(" ").map((a) => `SCMP_ACT_${a}`),
        operators: "EQ GE GT LE LT MASKED_EQ NE".split(" ").map((o) => `SCMP_CMP_${o}`),
        archs: "AARCH64 ARM X32 X86 X86_64".split(" ").map((a) => `SCMP_ARCH_${a}`),
        knownFlags: FLAGS,
        supportedFlags: FLAGS,
      },
      apparmor: { enabled: false },
      selinux: { enabled: false },
      intelRdt: { enabled: true, schemata: true, monitoring: true },
      mountExtensions: { idmap: { enabled: true } },
      netDevices: { enabled: true },
    },
  };
}

const FLAGS = ["LOG", "SPEC_ALLOW", "TSYNC"].map((name) => `SECCOMP_FILTER_FLAG_${name}`);
