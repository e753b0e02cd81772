import * as k from "../../../linux/constants.ts";
import type { Spec } from "../../../spec/oci-runtime.ts";
import { Builder, FD } from "../../builder.ts";
import { DEFAULT_PATH } from "../../execve.ts";
import { unblockSignals } from "../../keeper.ts";
import { CLONE_ARGS_SIZE, cloneArgs } from "../../namespaces.ts";
import { CRIU_FD, findCriu } from "./rpc.ts";

/** What a restore does before CRIU runs. */
export interface Restoring {
  rootfs: string;
  /** An empty directory of ours, on which the root is mounted: not in the host's sight, and with a parent in the open. */
  target: string;
  spec: Spec;
  /** `cgroup.procs` files of the container's cgroup, which CRIU takes as the place for what it restores. */
  joinFiles: readonly string[];
  /** Mount points that are files. */
  files: ReadonlySet<string>;
  /** The parent of the restored process stays to wait, and tells on {@link FD.exit} how it ended. */
  wait: boolean;
}

/**
 * A program that becomes CRIU, in its mode of one request (`criu swrk`).
 *
 *   restore                   parent (with `wait`)         CRIU                     container
 *     | spawn --------------> | clone3 ------------------> | mounts, cgroup
 *     | <- report: end of file ----------------------------| execve
 *     | request ------------------------------------------>| clone, as a sibling --> |
 *     | <- notices; answer --------------------------------| ends                    | goes on
 *     |                       | wait4, wait4 <----------------------------------------| ends
 *     | <- exit: wait status -|
 */
export function criuProgram(restoring?: Restoring): Builder {
  const p = new Builder();
  const path = findCriu();
  if (restoring?.wait) stayBehind(p);
  unblockSignals(p);
  if (restoring?.wait) p.call("the exit status is the parent's to tell", "close", [FD.exit]);
  if (restoring) prepareRoot(p, restoring);
  p.call("only stdio and what CRIU needs stay open", "fcntl", [FD.report, k.F_SETFD, 1]);
  const env = [`PATH=${process.env.PATH || DEFAULT_PATH}`];
  const argv = p.strings([path, "swrk", String(CRIU_FD.socket)], "criu swrk");
  p.call("criu", "execve", [p.text(path), argv, p.strings(env, "PATH")]);
  return p;
}

/** The child goes on; CRIU makes the container's first process its own sibling, so we are the parent of both. */
function stayBehind(p: Builder): void {
  const child = p.label("criu");
  const args = p.bytes(cloneArgs(0, false), "clone_args");
  const pid = p.result("criu", "pid", "clone3", [args, CLONE_ARGS_SIZE], { child });
  const why = "the parent keeps nothing of the container";
  p.call(why, "close_range", [0, FD.report, 0]);
  p.call(why, "close_range", [FD.exit + 1, 0xffff_ffff, 0]);
  const status = p.room(8, "wait status");
  p.call("criu ends first", "wait4", [pid, 0, 0, 0]);
  p.call("wait", "wait4", [-1, status, 0, 0], { ignore: "all" });
  p.call("tell how it ended", "write", [FD.exit, status, 8], { ignore: "all" });
  p.exit("the parent ends", status);
  p.place(child);
}

/** The root as a mount of its own, with the places to mount on that a tmpfs will not bring along. */
function prepareRoot(p: Builder, { rootfs, target, spec, joinFiles, files }: Restoring): void {
  for (const file of joinFiles) p.writeFile("cgroup", k.AT_FDCWD, file, "0");
  p.call("nothing is mounted in the host's sight", "unshare", [k.CLONE_NEWNS]);
  p.call("nothing is mounted in the host's sight", "mount", [0, p.text("/"), 0, k.MS_REC | k.MS_SLAVE, 0]);
  const root = p.result("root.path", "rootfs", "open_tree", [
    k.AT_FDCWD,
    p.text(rootfs),
    k.OPEN_TREE_CLONE | k.OPEN_TREE_CLOEXEC | k.AT_RECURSIVE,
  ]);
  const place = p.temporary("mount point");
  p.call("root.path", "openat", [k.AT_FDCWD, p.text(target), k.O_PATH | k.O_DIRECTORY | k.O_CLOEXEC, 0], {
    into: place,
  });
  p.attach("root.path", root, place);
  p.root = root;
  const tmpfs = (spec.mounts ?? []).filter(({ type }) => type === "tmpfs").map(({ destination }) => destination);
  for (const { destination, type } of spec.mounts ?? []) {
    if (type === "cgroup" || tmpfs.some((above) => destination.startsWith(`${above}/`))) continue;
    const why = `mounts ${destination}`;
    if (files.has(destination)) p.makeFile(why, destination);
    else p.makeDirectory(why, destination);
  }
}
