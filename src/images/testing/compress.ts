import { spawnSync } from "node:child_process";

/** What the machine's `bzip2` or `xz` makes of the data. */
export function compressWith(program: string, data: Uint8Array): Buffer {
  return spawnSync(program, ["-c"], { input: data }).stdout;
}
