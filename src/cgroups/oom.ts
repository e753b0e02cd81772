import { closeSync, constants, openSync, readSync } from "node:fs";
import { sys } from "../linux/call.ts";
import { close, read } from "../linux/file.ts";
import { POLLIN, POLLPRI } from "../linux/poll.ts";
import type { CgroupDirectory } from "./directory.ts";

/** Tells of processes that the kernel kills in a cgroup for lack of memory. The creator closes it. */
export interface OomWatch {
  /** To poll for {@link OomWatch.events}; then {@link OomWatch.happened} says what it was. */
  readonly fd: number;
  readonly events: number;
  /** Whether memory ran out since the last call. */
  happened(): boolean;
  close(): void;
}

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

/** Kernel: cgroup-v1/memory.rst, "OOM Control": an eventfd, which the end of the cgroup rings too. */
export function watchOomV1(directory: CgroupDirectory): OomWatch {
  const fd = sys("eventfd2", "", 0, EFD_CLOEXEC | EFD_NONBLOCK);
  try {
    const control = openSync(`${directory.path}/memory.oom_control`, constants.O_RDONLY);
    try {
      directory.write("cgroup.event_control", `${fd} ${control}`);
    } finally {
      closeSync(control);
    }
  } catch (error) {
    close(fd);
    throw error;
  }
  return {
    fd,
    events: POLLIN,
    happened() {
      try {
        read(fd, Buffer.alloc(8));
      } catch {
        return false;
      }
      return directory.has("memory.oom_control");
    },
    close: () => close(fd),
  };
}

/** Kernel: cgroup-v2.rst, memory.events: its counters, and POLLPRI when one of them has changed. */
export function watchOomV2(directory: CgroupDirectory): OomWatch {
  const fd = openSync(`${directory.path}/memory.events`, constants.O_RDONLY);
  const kills = () => {
    const buffer = Buffer.alloc(4096);
    try {
      const text = buffer.toString("latin1", 0, readSync(fd, buffer, 0, buffer.length, 0));
      return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
    } catch {
      // ENODEV: the cgroup is gone.
      return 0;
    }
  };
  let seen = kills();
  return {
    fd,
    events: POLLPRI,
    happened() {
      const now = kills();
      const more = now > seen;
      seen = Math.max(seen, now);
      return more;
    },
    close: () => closeSync(fd),
  };
}
