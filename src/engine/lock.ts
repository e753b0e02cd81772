import { closeSync, existsSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { conflict, SysError } from "../base/errors.ts";
import { trySys } from "../linux/call.ts";

const LOCK_EX_NB = 2 | 4;
const EWOULDBLOCK = 11;
const TRIES = 200;
const PAUSE_MS = 5;

/** A directory's lock (flock(2)): one engine at a time. The kernel lets go of it when the process ends, however it does. */
export class DirectoryLock {
  private constructor(private readonly fd: number) {}

  /** A lock that another process holds is a conflict that names its pid. */
  static async take(directory: string): Promise<DirectoryLock> {
    const fd = openSync(join(directory, "lock"), "a+", 0o600);
    for (let tries = 0; ; tries++) {
      const result = trySys("flock", fd, LOCK_EX_NB);
      if (result === 0) break;
      const pid = holder(fd);
      // A child that a killed engine was just starting has the descriptor until its execve.
      if (result === -EWOULDBLOCK && tries < TRIES && pid !== undefined && !existsSync(`/proc/${pid}`)) {
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
        continue;
      }
      closeSync(fd);
      if (result !== -EWOULDBLOCK) throw new SysError("flock", directory, -result);
      throw conflict(`${directory} is in use by another engine${pid === undefined ? "" : ` (pid ${pid})`}`);
    }
    ftruncateSync(fd, 0);
    writeSync(fd, `${process.pid}\n`);
    return new DirectoryLock(fd);
  }

  release(): void {
    closeSync(this.fd);
  }
}

function holder(fd: number): number | undefined {
  const text = Buffer.alloc(16);
  const pid = text.toString("latin1", 0, readSync(fd, text, 0, 16, 0)).trim();
  return /^\d+$/.test(pid) ? Number(pid) : undefined;
}
