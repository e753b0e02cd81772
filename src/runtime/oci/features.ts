import { CAPABILITIES } from "../../security/capabilities.ts";
import { MEMORY_POLICY_FLAGS, MEMORY_POLICY_MODES } from "../execution.ts";
import { MOUNT_WORDS } from "../mount-options.ts";
import { HOOK_KINDS } from "./config.ts";
import { COMMIT, OCI_VERSION, PROGRAM_VERSION } from "./version.ts";

/** What this program knows, whatever the machine offers (features.md, features-linux.md). */
export function features(): object {
  return {
    ociVersionMin: "1.0.0",
    ociVersionMax: OCI_VERSION,
    hooks: HOOK_KINDS,
    mountOptions: MOUNT_WORDS.toSorted(),
    annotations: {
      "org.inro.runtime.version": PROGRAM_VERSION,
      "org.inro.runtime.commit": COMMIT,
      // By runc's name, which is the one that callers know.
      "org.opencontainers.runc.checkpoint.enabled": "true",
    },
    // What whoever writes them could do to the host through us: a unit's properties, and a file for CRIU.
    potentiallyUnsafeConfigAnnotations: ["org.criu.config", "org.systemd.property."],
    linux: {
      namespaces: ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
      capabilities: CAPABILITIES,
      cgroup: { v1: true, v2: true, systemd: true, systemdUser: true, rdma: true },
      seccomp: {
        enabled: true,
        actions: words("SCMP_ACT_", "ALLOW ERRNO KILL KILL_PROCESS KILL_THREAD LOG NOTIFY TRACE TRAP"),
        operators: words("SCMP_CMP_", "EQ GE GT LE LT MASKED_EQ NE"),
        archs: words("SCMP_ARCH_", "AARCH64 ARM X32 X86 X86_64"),
        knownFlags: FLAGS,
        supportedFlags: FLAGS,
      },
      apparmor: { enabled: true },
      selinux: { enabled: true },
      memoryPolicy: { modes: MEMORY_POLICY_MODES.toSorted(), flags: MEMORY_POLICY_FLAGS.toSorted() },
      intelRdt: { enabled: true, schemata: true, monitoring: true },
      mountExtensions: { idmap: { enabled: true } },
      netDevices: { enabled: true },
    },
  };
}

const words = (prefix: string, names: string) => names.split(" ").map((name) => prefix + name);

const FLAGS = words("SECCOMP_FILTER_FLAG_", "LOG SPEC_ALLOW TSYNC WAIT_KILLABLE_RECV");
