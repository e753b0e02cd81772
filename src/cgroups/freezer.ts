import { setTimeout as sleep } from "node:timers/promises";
import { unavailable } from "../base/errors.ts";
import type { CgroupDirectory } from "./directory.ts";

const BOUND_MS = 10_000;

/** Kernel: cgroup-v2.rst, cgroup.freeze. Resolves when all processes inside have stopped or go on. */
export async function freezeUnified(directory: CgroupDirectory, frozen: boolean): Promise<void> {
  directory.write("cgroup.freeze", frozen ? 1 : 0, { ENOENT: "the cgroup is gone, or Linux is older than 5.2" });
  // Reading it fails when the cgroup has gone, which would never be frozen.
  const done = () => /^frozen (\d)$/m.exec(directory.read("cgroup.events"))?.[1] === (frozen ? "1" : "0");
  if (await within(done)) return;
  if (frozen) directory.write("cgroup.freeze", 0);
  throw notFrozen(directory, frozen);
}

/** Kernel: cgroup-v1/freezer-subsystem.rst. */
export async function freezeV1(directory: CgroupDirectory, frozen: boolean): Promise<void> {
  const state = frozen ? "FROZEN" : "THAWED";
  const done = () => {
    // FREEZING may hang on a process that just forked; writing again makes the kernel look again.
    directory.write("freezer.state", state);
    return directory.read("freezer.state") === state;
  };
  if (await within(done)) return;
  if (frozen) directory.write("freezer.state", "THAWED");
  throw notFrozen(directory, frozen);
}

const notFrozen = (directory: CgroupDirectory, frozen: boolean) =>
  unavailable(`${frozen ? "freeze" : "thaw"} ${directory.path}: not done after ${BOUND_MS / 1000} s`);

async function within(done: () => boolean): Promise<boolean> {
  const end = performance.now() + BOUND_MS;
  for (let pause = 0.5; ; pause = Math.min(pause * 2, 20)) {
    if (done()) return true;
    if (performance.now() > end) return false;
    await sleep(pause);
  }
}
