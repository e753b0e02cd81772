import * as k from "../linux/constants.ts";
import { encode } from "../program/elf.ts";
import { MACHINE } from "../program/machine.ts";
import type { Spec } from "../spec/oci-runtime.ts";
import { Builder, FD } from "./builder.ts";
import { beKeeper, cloneAndKeep } from "./keeper.ts";
import { planMounts } from "./mount-plan.ts";
import { attachMounts, openSources } from "./mounts.ts";
import { inheritedPropagation, rootPropagation } from "./propagation.ts";
import { detachedRoot, enterMountNamespace, needsClassicOverlay, pivot, type Rootfs, readonlyRoot } from "./rootfs.ts";
import type { Running } from "./running.ts";
import { hasOwnUserns, start } from "./start.ts";
import { treeOf } from "./tree.ts";

export interface HoldRequest {
  /** Its root, mounts and user namespace; nothing else is looked at. Binds and tmpfs only. */
  spec: Spec;
  rootfs: Rootfs;
  /** An existing directory of its own, mode 0700. */
  runDir: string;
}

/**
 * The files of a container that does not run, mounted as a start would have them, in a mount namespace that a process of
 * ours holds, and nobody else is in. They go with `release()`. Failures are as those of launch.
 */
export async function holdFiles({ spec, rootfs, runDir }: HoldRequest): Promise<Running> {
  const tree = treeOf(rootfs, spec);
  const program = holdProgram(spec, rootfs, runDir);
  const encoded = { elf: encode(program, MACHINE), program: () => program };
  return await start(encoded, { spec, runDir, tty: false, stdin: false, files: () => ({ tree, cwd: "/" }) });
}

function holdProgram(spec: Spec, rootfs: Rootfs, runDir: string): Builder {
  const p = new Builder();
  const mounts = planMounts(spec, treeOf(rootfs, spec).layers);
  beKeeper(p);
  const userns = hasOwnUserns(spec)
    ? p.result("user namespace", "user namespace", "fcntl", [FD.userns, k.F_DUPFD_CLOEXEC, FD.free])
    : undefined;
  const propagation = spec.linux?.rootfsPropagation;
  const detached = needsClassicOverlay(rootfs)
    ? undefined
    : detachedRoot(p, rootfs, userns, rootPropagation(propagation));
  openSources(p, mounts, userns, inheritedPropagation(propagation));
  const child = p.label("holder");
  cloneAndKeep(p, { flags: k.CLONE_NEWNS, cgroup: undefined, child, terminal: false });

  p.place(child);
  p.call("holder: ends with its keeper", "prctl", [k.PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0]);
  p.call("modes are meant as they are given", "umask", [0]);
  enterMountNamespace(p, rootfs, detached, runDir);
  const { late } = attachMounts(p, mounts, new Map(), userns);
  for (const { why, number } of late) p.setAttributes(why, number, { set: k.MOUNT_ATTR_RDONLY });
  if (spec.root?.readonly) readonlyRoot(p);
  pivot(p);
  p.call("holder: all is mounted", "close_range", [FD.report, 0xffff_ffff, 0]);
  p.call("holder: waits for its end", "ppoll", [0, 0, 0, 0, 0], { ignore: "all" });
  p.exit("holder: no further", p.room(8, "0"));
  return p;
}

const SIGKILL = 9;
