import { close } from "../../../linux/file.ts";
import { pipe, raise, reap, sealedExecutable, spawn } from "../../../linux/process.ts";
import { encode } from "../../../program/elf.ts";
import { MACHINE } from "../../../program/machine.ts";
import { Builder, FD } from "../../builder.ts";

const END = FD.exit;

/**
 * A process that does nothing until it is released, or we end. systemd makes a scope for a process that is there, and a
 * container is born in a cgroup that is there: this one holds the place.
 */
export function spawnPlaceholder(): { pid: number; release(): void } {
  const p = new Builder();
  p.call("until the container is there", "read", [END, p.room(8, "nothing"), 1]);
  p.exit("it is", p.room(8, "status"));
  const executable = raise(sealedExecutable("inro-runtime", encode(p, MACHINE)));
  const [near, far] = pipe();
  const [read, write] = [raise(near), raise(far)];
  try {
    const fds = [[read, END]] as const;
    const pid = spawn({ path: `/proc/self/fd/${executable}`, argv: ["inro-runtime", "init"], fds });
    let released = false;
    return {
      pid,
      release() {
        if (released) return;
        released = true;
        close(write);
        reap(pid, 0);
      },
    };
  } catch (error) {
    close(write);
    throw error;
  } finally {
    close(executable);
    close(read);
  }
}
