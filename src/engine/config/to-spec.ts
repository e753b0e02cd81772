import { posix } from "node:path";
import { InroError } from "../../base/errors.ts";
import { READONLY_PATHS } from "../../security/paths.ts";
import type { ContainerConfig, HostConfig } from "../../spec/docker-api.ts";
import type { IdMapping, Linux, Mount, Spec } from "../../spec/oci-runtime.ts";
import { injectDevices } from "./cdi.ts";
import { containerDevices } from "./devices.ts";
import { type HostFacts, hostFacts } from "./host-facts.ts";
import { type HostFiles, hostFiles } from "./host-files.ts";
import { hostnameOf } from "./hosts.ts";
import { checkModes, namespaceModes, usernsRequest } from "./modes.ts";
import type { PlannedMount } from "./mount-plan.ts";
import { type ManagedFiles, ociMounts } from "./mounts.ts";
import { type NamespaceOf, ociNamespaces } from "./namespaces.ts";
import { containerCapabilities, containerProcess, type Lookup } from "./process.ts";
import { checkPropagation } from "./propagation.ts";
import { resources } from "./resources.ts";
import { containerSeccomp } from "./seccomp.ts";
import { parseSecurityOptions } from "./security-options.ts";
import { sysctls } from "./sysctls.ts";

export interface SpecInput {
  id: string;
  /** As {@link file://./validate-create.ts} returned them. */
  config: ContainerConfig;
  host: HostConfig;
  rootfs: { lookup: Lookup };
  /** Absent: the container's own files stay (as with the network namespace of another container). */
  files?: ManagedFiles;
  /** Of `planMounts`, with every source a host path that exists. */
  volumes: readonly PlannedMount[];
  /**
   * Where `UsernsMode` asks for a namespace: container ids from 0 on are these host ids. `path`: the namespace, already
   * made with these ids; without it the runtime would have to make it.
   */
  userns?: { hostID: number; size: number; path?: string };
  /** The container's own network namespace, already made and wired up. */
  network?: { path: string };
  /** For modes `container:ID`. */
  namespaceOf?: NamespaceOf;
  facts?: HostFacts;
  hostFiles?: HostFiles;
}

/** Debian's group of terminals, and docker's. */
const TTY = 5;
const OCI_VERSION = "1.2.1";
/** Where containers have their cgroups if they ask for no other place. */
export const CGROUP_ROOT = "/inro";

/**
 * The OCI runtime spec of a container. Looks at the host (devices, mounts) and at passwd and group of the root now, so
 * it is made anew for every start. Throws InroError for what the machine or the image does not allow.
 */
export function toSpec(input: SpecInput): Spec {
  const { id, userns, facts = hostFacts(), hostFiles: files = hostFiles } = input;
  const { config, host, mounts: injected } = injectDevices(input.config, input.host);
  const privileged = host.Privileged ?? false;
  checkModes({ ...config, Hostname: "", Domainname: "", ExposedPorts: {} }, host, facts.cgroup);
  if ((usernsRequest(host.UsernsMode) === undefined) !== (userns === undefined)) {
    throw new InroError(
      "internal",
      `the user namespace of mode ${JSON.stringify(host.UsernsMode)} has no ids, or is none`,
    );
  }
  const modes = namespaceModes(host, facts.cgroup);
  const security = parseSecurityOptions(host.SecurityOpt ?? [], facts);
  const capabilities = containerCapabilities(host, facts);
  const { devices, rules } = containerDevices(host, files);
  const seccomp = containerSeccomp(security, privileged, capabilities, facts);
  const open = privileged || security.unconfinedPaths;
  for (const mount of input.volumes) checkPropagation(mount, files);

  const mounts = ociMounts({
    host,
    modes,
    volumes: input.volumes,
    ...(input.files ? { files: input.files } : {}),
    writableCgroups: security.writableCgroups,
    recursiveReadOnly: atLeast(facts.kernel, 5, 12),
    idmap: userns !== undefined,
  });
  mounts.push(...injected);
  // The group tty has no id where root is the only one.
  const terminals = mounts.find(({ destination }) => destination === "/dev/pts");
  if (terminals?.options && (facts.lastGid ?? TTY) < TTY) {
    terminals.options = terminals.options.filter((option) => option !== `gid=${TTY}`);
  }
  if (userns) {
    // mknod(2) is not for user namespaces: the host's nodes are bound.
    mounts.push(
      ...devices.map(({ device, source }): Mount => {
        return { destination: device.path, type: "bind", source, options: ["bind", "rprivate"] };
      }),
    );
  }
  const linux: Linux = {
    namespaces: ociNamespaces(modes, {
      ...(userns ? { user: userns } : {}),
      ...(input.network ? { network: input.network } : {}),
      time: facts.timeNamespace,
      ...(input.namespaceOf ? { namespaceOf: input.namespaceOf } : {}),
    }),
    ...(userns ? { uidMappings: [mapping(userns)], gidMappings: [mapping(userns)] } : {}),
    devices: userns ? [] : devices.map(({ device }) => device),
    cgroupsPath: posix.join("/", host.CgroupParent || CGROUP_ROOT, id),
    resources: resources(host, rules, files),
    sysctl: sysctls(host, modes, userns !== undefined, facts.lastGid),
    ...(seccomp ? { seccomp } : {}),
    maskedPaths: host.MaskedPaths ?? (open ? [] : [...facts.maskedPaths]),
    readonlyPaths: host.ReadonlyPaths ?? (open ? [] : [...READONLY_PATHS]),
  };
  return {
    ociVersion: OCI_VERSION,
    root: { path: "rootfs", readonly: host.ReadonlyRootfs ?? false },
    process: containerProcess({
      id,
      config,
      host,
      lookup: input.rootfs.lookup,
      security,
      capabilities,
      facts,
      ...(userns ? { ids: userns.size } : facts.lastGid !== undefined ? { ids: facts.lastGid + 1 } : {}),
    }),
    ...(modes.uts.kind === "private" ? { hostname: hostnameOf(id, config, host, facts) } : {}),
    ...(modes.uts.kind === "private" && config.Domainname ? { domainname: config.Domainname } : {}),
    mounts,
    ...(Object.keys(host.Annotations ?? {}).length > 0 ? { annotations: { ...host.Annotations } } : {}),
    linux,
  };
}

const mapping = ({ hostID, size }: { hostID: number; size: number }): IdMapping => ({ containerID: 0, hostID, size });

function atLeast(kernel: { major: number; minor: number }, major: number, minor: number): boolean {
  return kernel.major > major || (kernel.major === major && kernel.minor >= minor);
}
