import {
  accessSync,
  chmodSync,
  constants,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { codeOf } from "../base/errors.ts";
import { unescapeOctal } from "../cgroups/hierarchy.ts";
import type { RootPart } from "../runtime/rootfs.ts";

/**
 * The machine's root for an overlay in a user namespace: one on `/` itself is refused, since what is mounted below is not
 * that namespace's to leave out (clone_private_mount, CVE-2021-3732). So it stands on `base`, which has the names in `/`,
 * and each directory there has an overlay of its own, or is bound read-only where something is mounted below it; unless
 * it has one of `hidden` in it. `upper` and `work` are the container's; after this they have what the overlays need.
 */
export function hostParts(base: string, upper: string, work: string, hidden: readonly string[]): RootPart[] {
  rmSync(base, { recursive: true, force: true });
  mkdirSync(base, { mode: 0o755 });
  const root = lstatSync("/");
  const points = mountPoints();
  const parts: RootPart[] = [];
  for (const { name } of readdirSync("/", { withFileTypes: true })) {
    const path = `/${name}`;
    const stat = statSync(path, { throwIfNoEntry: false });
    if (lstatSync(path).isSymbolicLink()) symlinkSync(readlinkSync(path), join(base, name));
    if (!stat?.isDirectory() || lstatSync(path).isSymbolicLink()) continue;
    mkdirSync(join(base, name), { mode: 0o755 });
    // What is another file system is not the root's.
    if (stat.dev !== root.dev || points.includes(path) || !isReadable(path)) continue;
    const below = (other: string) => other.startsWith(`${path}/`);
    const bind = points.some(below);
    if (bind && hidden.some(below)) continue;
    if (bind) parts.push({ path, bind });
    else {
      const own = { upper: join(upper, name), work: join(work, `root-${name}`) };
      for (const directory of [own.upper, own.work]) make(directory);
      chmodSync(own.upper, stat.mode & 0o7777);
      parts.push({ path, bind, ...own });
    }
  }
  return parts;
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function make(directory: string): void {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  }
}

function mountPoints(): string[] {
  const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n").filter(Boolean);
  return lines.map((line) => unescapeOctal(line.split(" ")[4] ?? ""));
}
