import { invalid } from "../base/errors.ts";
import type { Slot } from "../program/ir.ts";
import type { Filter } from "../security/seccomp/compile.ts";
import type { NamespaceType, Spec } from "../spec/oci-runtime.ts";
import type { Builder } from "./builder.ts";
import type { FreshHierarchy } from "./cgroup-mounts.ts";
import { type PlannedDevice, planDevices } from "./devices.ts";
import type { cloneAndKeep } from "./keeper.ts";
import { type Given, isFresh, type PlannedMount, planMounts } from "./mount-plan.ts";
import { type Namespaces, planNamespaces } from "./namespaces.ts";
import type { Rootfs } from "./rootfs.ts";
import { resolveInTree, treeOf } from "./tree.ts";

/** What a launch needs besides the config. All paths are the host's. */
export interface Plan {
  spec: Spec;
  rootfs: Rootfs;
  /** A directory of ours, on which the root is mounted in the container's mount namespace. */
  target: string;
  cgroup: {
    /** cgroup2 directory for CLONE_INTO_CGROUP. */
    unified: string | undefined;
    /** cgroup v1 `tasks` files to join. */
    joinFiles: readonly string[];
    /** What the container sees under its cgroup mount. */
    mounts: readonly { name: string; path: string }[];
    /** The same without a cgroup of its own. */
    fresh?: readonly FreshHierarchy[];
  };
  filter: Filter | undefined;
  lastCapability: number;
  /** The container's stdio that is a pipe of ours, and so becomes its user's. */
  ownStdio: readonly number[];
  /** --init: the descriptor on which the init program's file is open. */
  init: number | undefined;
  /** The container's own user namespace, made by the caller: the spawned process's descriptor. */
  userns?: number;
  /** Launched without the right to mount: the user namespace comes first, and gives it. */
  plain?: boolean;
  /** We are in a user namespace already: no root there may make device nodes, and the mounts may be those of another. */
  nested?: boolean;
  /** With `nested`: the mount namespace is that user namespace's, so that descriptors opened in it can be mounted. */
  ownMounts?: boolean;
  /** Others of the user may look into the set-up: it joins no namespace, so only they could. */
  traceable?: boolean;
  /** The user namespace refuses setgroups(2). */
  noSetgroups?: boolean;
  /** What the launcher made for single mounts, by their index in the config. */
  given?: ReadonlyMap<number, Given>;
  /** The root becomes `/`, and the host's tree goes: in place of {@link pivot}. */
  enterRoot?(p: Builder): void;
  /** How many descriptors the keeper holds for the engine. */
  kept?: number;
  /** The first descriptor number that is free for the program's own. */
  firstNumber?: number;
  /** Namespaces that are joined by path and were opened by the caller: the spawned process's descriptors. */
  joined?: ReadonlyMap<NamespaceType, number>;
  /** Who launches, when it is not the engine with its keeper. */
  launcher?: Launcher;
}

/** What differs for another launcher (oci/): rows in place of the keeper's, and rows between the others. */
export interface Launcher {
  /** clone3(2), and what becomes of the parent. In place of {@link cloneAndKeep}. */
  clone(p: Builder, options: Parameters<typeof cloneAndKeep>[1]): void;
  /** Of the container's process, when its parent ends. */
  pdeathsig?: number;
  /** In the container's process, when it is root of the container's user namespace. */
  inChild?(p: Builder): void;
  /** All mounts and devices are there, and the host's tree too. */
  beforePivot?(p: Builder): void;
  /** Leaves the container only its own descriptors. In place of {@link closeAll}. */
  closeAll(p: Builder): void;
  /** In the container's working directory, as root, no filter installed. */
  beforeUser?(p: Builder): void;
  /**
   * The seccomp filter is installed and notifies on `fd`: until somebody serves that, no call is safe but write(2), which
   * no filter may notify.
   */
  listener?(p: Builder, fd: Slot): void;
  /** Under the filter: the next row is the execve. */
  beforeExec?(p: Builder): void;
}

/** A plan whose paths have been looked up on the host: what the rows depend on, and nothing that changes later. */
export interface Prepared {
  plan: Plan;
  namespaces: Namespaces;
  mounts: PlannedMount[];
  devices: PlannedDevice[];
  /** /dev is a file system of the container's, for us to fill. */
  ownDev: boolean;
  /** Nothing of the image is in it. */
  freshDev: boolean;
  /** The working directory, without symlinks. */
  cwd: string;
}

/** Looks at the host and the image; makes nothing. Bad configs are invalid-argument errors. */
export function prepare(plan: Plan): Prepared {
  const { linux, process } = plan.spec;
  if (!process) throw invalid("process: missing");
  const tree = treeOf(plan.rootfs, plan.spec);
  const mounts = planMounts(plan.spec, tree.layers, plan.given);
  const dev = mounts.findLast((m) => m.destination === "/dev" && m.kind !== "remount");
  const ownDev = dev === undefined || dev.kind === "filesystem";
  const bind = plan.nested === true || plan.spec.linux?.namespaces?.some(({ type }) => type === "user") === true;
  return {
    plan,
    namespaces: planNamespaces(plan.spec),
    mounts,
    devices: planDevices(linux?.devices ?? [], { tree, mounts, bind, ownDev }),
    ownDev,
    freshDev: dev !== undefined && isFresh(dev),
    cwd: process.cwd === "/" ? "/" : resolveInTree(tree, process.cwd),
  };
}
