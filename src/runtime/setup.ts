import { invalid } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import type { Slot } from "../program/ir.ts";
import { becomeProcess } from "./become.ts";
import { Builder, FD } from "./builder.ts";
import { openCgroups } from "./cgroup-mounts.ts";
import { startNumbers } from "./descriptors.ts";
import { makeDevices, openHostDevices } from "./devices.ts";
import { execProcess } from "./execve.ts";
import { beKeeper, cloneAndKeep, ownKeyring } from "./keeper.ts";
import { applyLabels, hasLabels, openProc } from "./labels.ts";
import { attachMounts, openSources } from "./mounts.ts";
import { cloneFlags, enterJoined, loopbackUp, openJoined, timeOffsets } from "./namespaces.ts";
import { type Plan, type Prepared, prepare } from "./plan.ts";
import { beforeUserNamespace, writeOomScore } from "./privileged.ts";
import { inheritedPropagation, propagateRoot, rootPropagation } from "./propagation.ts";
import { maskedPaths, readonlyPaths } from "./restricted-paths.ts";
import {
  detachedRoot,
  enterMountNamespace,
  enterOtherMounts,
  needsClassicOverlay,
  pivot,
  readonlyRoot,
} from "./rootfs.ts";
import { handOver } from "./supervise.ts";
import { sysctlPath } from "./sysctl.ts";
import { containerTerminal, useTerminal } from "./terminal.ts";

/** The program of a plan. */
export function setUp(plan: Plan): Builder {
  return compose(prepare(plan));
}

/** How a container starts: one straight list, in the kernel's order. */
export function compose({ plan, namespaces, mounts, devices, ownDev, freshDev, cwd }: Prepared): Builder {
  const { spec } = plan;
  const { linux } = spec;
  const process = spec.process!;
  const p = new Builder();

  // On the host: everything that a host path names is opened here, attached nowhere.
  if (plan.firstNumber !== undefined) startNumbers(p, plan.firstNumber);
  const inUserns = namespaces.has("user");
  if (inUserns) beforeUserNamespace(p, process);
  beKeeper(p, plan.traceable);
  if (hasLabels(process)) openProc(p);
  const joined = openJoined(p, namespaces, plan.joined);
  if (plan.userns !== undefined) {
    const why = "linux.namespaces user";
    joined.set("user", p.result(why, "user namespace", "fcntl", [plan.userns, k.F_DUPFD_CLOEXEC, FD.free]));
  }
  const userns = joined.get("user");
  if (namespaces.own("user") && plan.userns === undefined)
    throw invalid("linux.namespaces: the user namespace is made by the caller and joined by path");
  if (plan.plain) enterJoined(p, new Map([...joined].filter(([type]) => type === "user")));
  if (plan.plain || (plan.nested && !plan.ownMounts)) {
    // Mounts can be opened only in a mount namespace that one's user namespace owns; they are the host's still, and
    // nothing of them goes back there (mount_namespaces(7), "Restrictions on mount namespaces").
    p.call("linux.namespaces mount", "unshare", [k.CLONE_NEWNS]);
  }
  const classic = needsClassicOverlay(plan.rootfs);
  if (classic && userns) throw invalid("a user namespace with an overlay needs Linux 6.5");
  const detached = classic
    ? undefined
    : detachedRoot(p, plan.rootfs, userns, rootPropagation(linux?.rootfsPropagation));
  openSources(p, mounts, userns, inheritedPropagation(linux?.rootfsPropagation));
  const cgroupMounts = openCgroups(p, mounts, plan.cgroup.mounts, plan.cgroup.fresh);
  const bound = openHostDevices(p, devices);
  let cgroup: Slot | undefined;
  if (plan.cgroup.unified) {
    cgroup = p.result("cgroup", "cgroup", "openat", [
      k.AT_FDCWD,
      p.text(plan.cgroup.unified),
      k.O_PATH | k.O_DIRECTORY | k.O_CLOEXEC,
      0,
    ]);
  }
  timeOffsets(p, spec);
  enterJoined(p, plan.plain ? new Map([...joined].filter(([type]) => type !== "user")) : joined);
  const child = p.label("container");
  const clone = plan.launcher ? plan.launcher.clone.bind(plan.launcher) : cloneAndKeep;
  const flags = cloneFlags(spec, namespaces.clone) & ~(plan.plain ? k.CLONE_NEWNS : 0);
  clone(p, { flags, cgroup, child, terminal: process.terminal === true, kept: plan.kept ?? 0 });

  // In the container's namespaces, still on the host's tree.
  p.place(child);
  for (const file of plan.cgroup.joinFiles) p.writeFile("cgroup v1", k.AT_FDCWD, file, "0");
  if (namespaces.newCgroup) p.call("linux.namespaces cgroup", "unshare", [k.CLONE_NEWCGROUP]);
  p.call("process: a session of its own", "setsid", []);
  if (process.oomScoreAdj !== undefined && !inUserns) writeOomScore(p, process.oomScoreAdj);
  p.call("modes are meant as they are given", "umask", [0]);
  enterMountNamespace(p, plan.rootfs, detached, plan.target);
  // Not earlier: the way to the target may be open to the host's root alone.
  if (userns) {
    const why = "root of the user namespace";
    if (!plan.noSetgroups) p.call(why, "setgroups", [0, 0]);
    p.call(why, "setresgid", [0, 0, 0]);
    p.call(why, "setresuid", [0, 0, 0]);
    // Another user's memory is out of sight again.
    if (plan.traceable) p.call(why, "prctl", [k.PR_SET_DUMPABLE, 1, 0, 0, 0]);
  }
  // Not earlier: a keyring belongs to its maker, and a name is known in one user namespace.
  if (plan.launcher) plan.launcher.inChild?.(p);
  else ownKeyring(p);
  const { proc, late } = attachMounts(p, mounts, cgroupMounts, userns);
  makeDevices(p, devices, bound, { ownDev, fresh: freshDev });
  const slave = process.terminal ? containerTerminal(p, process, plan.launcher ? 0 : k.O_NONBLOCK) : undefined;
  if (cwd !== "/") p.makeDirectory("process.cwd", cwd);

  if (namespaces.own("network")) loopbackUp(p);
  if (spec.hostname) {
    if (!namespaces.has("uts")) throw invalid("hostname: only with a uts namespace");
    p.call("hostname", "sethostname", [p.text(spec.hostname), Buffer.byteLength(spec.hostname)]);
  }
  if (spec.domainname) {
    if (!namespaces.has("uts")) throw invalid("domainname: only with a uts namespace");
    p.call("domainname", "setdomainname", [p.text(spec.domainname), Buffer.byteLength(spec.domainname)]);
  }
  for (const [key, value] of Object.entries(linux?.sysctl ?? {})) {
    const path = sysctlPath(key);
    if (!/^[\w.\-/]+$/.test(key) || key.includes(".."))
      throw invalid(`linux.sysctl: ${JSON.stringify(key)} is no name`);
    if (!proc) throw invalid(`linux.sysctl ${key}: there is no mount of proc on /proc`);
    // Through proc's own descriptor: no path of the container is in between (CVE-2025-52881).
    p.writeFile(`linux.sysctl ${key}`, proc, `sys/${path}`, value);
  }
  readonlyPaths(p, linux?.readonlyPaths ?? []);
  maskedPaths(p, linux?.maskedPaths ?? [], linux?.mountLabel);
  for (const { why, number } of late) p.setAttributes(why, number, { set: k.MOUNT_ATTR_RDONLY });
  if (spec.root?.readonly) readonlyRoot(p);
  plan.launcher?.beforePivot?.(p);
  const others = joined.get("mount");
  if (others) enterOtherMounts(p, others);
  else {
    (plan.enterRoot ?? pivot)(p);
    propagateRoot(p, linux?.rootfsPropagation);
  }

  // In the container.
  if (slave) useTerminal(p, slave);
  else if (process.user.uid !== 0) {
    for (const fd of plan.ownStdio)
      p.call("process.user: its stdio can be opened again", "fchown", [fd, process.user.uid, -1], {
        ignore: ["EPERM", "EINVAL"],
      });
  }
  if (hasLabels(process)) applyLabels(p, process);
  becomeProcess(p, plan, process.cwd, inUserns);
  plan.launcher?.beforeExec?.(p);
  if (plan.init === undefined) execProcess(p, process);
  else handOver(p, plan.init, process);
  return p;
}
