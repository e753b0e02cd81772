import * as k from "../linux/constants.ts";
import type { Slot } from "../program/ir.ts";
import type { Spec } from "../spec/oci-runtime.ts";
import { type Builder, FD } from "./builder.ts";
import { type Execution, setExecution } from "./execution.ts";
import { becomeUser, setLimits } from "./identity.ts";
import { closeAll, unblockSignals } from "./keeper.ts";
import type { Launcher, Plan } from "./plan.ts";
import { isInherited, schedule } from "./scheduling.ts";

/**
 * The end of every launch, of a container and of an exec alike. `early`: {@link file://./privileged.ts} has done before the
 * user namespace what is not possible in it.
 */
export function becomeProcess(
  p: Builder,
  plan: Pick<Plan, "filter" | "lastCapability" | "init" | "launcher" | "traceable" | "noSetgroups"> & {
    spec: Pick<Spec, "process"> & { linux?: Execution };
    /** It is not this process but a child of it that goes on to execve. */
    parent?: boolean;
  },
  cwd: string,
  early: boolean,
): void {
  const process = plan.spec.process!;
  unblockSignals(p);
  if (plan.launcher) plan.launcher.closeAll(p);
  else if (plan.init === undefined) closeAll(p);
  else {
    p.call("--init", "dup3", [plan.init, FD.exit, k.O_CLOEXEC]);
    p.call("only stdio, the report and the init program stay open", "close_range", [FD.exit + 1, 0xffff_ffff, 0]);
  }
  const entered = enterDirectory(p, cwd, process.user.uid !== 0);
  // What is above needs a few descriptors, perhaps more than the container may have.
  setLimits(p, process);
  if (!early || !isInherited(process)) schedule(p, process);
  if (plan.spec.linux) setExecution(p, plan.spec.linux);
  plan.launcher?.beforeUser?.(p);
  const pdeathsig = plan.parent ? undefined : deathSignal(plan.launcher);
  const { lastCapability, traceable, noSetgroups } = plan;
  becomeUser(p, process, plan.filter, {
    lastCapability,
    ...(pdeathsig !== undefined && { pdeathsig }),
    ...(traceable && { traceable }),
    ...(noSetgroups && { noSetgroups }),
    ...(plan.launcher?.listener && { listener: plan.launcher.listener }),
    ...(entered && { asUser: () => enterAsUser(p, cwd, entered) }),
  });
}

/** What a process gets when its parent ends, PR_SET_PDEATHSIG. */
export function deathSignal(launcher: Launcher | undefined): number | undefined {
  return launcher ? launcher.pdeathsig : SIGKILL;
}

/**
 * The working directory, as root: the user may not be allowed to enter it. Nothing of the host is open any more, and with
 * the pid namespace of others their roots and descriptors are a magic link away, which root could follow and the
 * container's process could not (CVE-2024-21626).
 */
function enterDirectory(p: Builder, cwd: string, again: boolean): Slot | undefined {
  const why = "process.cwd";
  const directory = p.temporary("working directory");
  const ignore = again ? (["EACCES", "EPERM", "EBADF"] as const) : [];
  const entered = again ? p.slot("working directory") : undefined;
  const how = p.how(k.O_PATH | k.O_DIRECTORY, k.RESOLVE_NO_MAGICLINKS);
  p.call(why, "openat2", [k.AT_FDCWD, p.text(cwd), how, 24], { into: directory, ignore });
  p.call(why, "fchdir", [directory], { ignore, ...(entered && { into: entered }) });
  p.call(why, "close", [directory], { ignore });
  return entered;
}

/** On some file systems (FUSE, NFS without root's rights) it is the other way round. */
function enterAsUser(p: Builder, cwd: string, entered: Slot): void {
  const done = p.label("in the working directory");
  p.branch("process.cwd", entered, "equal", 0, done);
  enterDirectory(p, cwd, false);
  p.place(done);
}

const SIGKILL = 9;
