import { lstat, opendir } from "node:fs/promises";
import { join } from "node:path";

/** Bytes of the files below a directory, hard links counted once; 0 if there is none. Follows no symlink. */
export async function dirSize(path: string): Promise<number> {
  const seen = new Set<string>();
  const pending = [path];
  let size = 0;
  for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
    try {
      for await (const entry of await opendir(directory)) {
        const name = join(directory, entry.name);
        if (entry.isDirectory()) {
          pending.push(name);
          continue;
        }
        const stat = await lstat(name);
        const key = `${stat.dev}:${stat.ino}`;
        if (stat.nlink > 1 && seen.has(key)) continue;
        if (stat.nlink > 1) seen.add(key);
        size += stat.size;
      }
    } catch (error) {
      // A running container may have removed it meanwhile.
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
  return size;
}
