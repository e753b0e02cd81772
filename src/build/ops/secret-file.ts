import { chmodSync, chownSync, existsSync, lstatSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "../../base/errors.ts";
import * as k from "../../linux/constants.ts";
import { chmod, chownat, close, openat, writeAll } from "../../linux/file.ts";
import { detachedFilesystem } from "../../linux/mount.ts";
import { kernelAtLeast } from "../../runtime/rootfs.ts";
import { pathOf } from "./source.ts";

interface Attributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** A file in memory that nobody else sees. The caller closes it after the step. */
export interface SecretFile {
  /** As long as it is open. */
  readonly path: string;
  close(): void;
}

/** Where a kernel has nothing better. A name has the number of the process whose secret it is. */
const SHARED = "/dev/shm";
const PREFIX = "inro-secret-";

/**
 * A secret as a file: on a tmpfs that is attached nowhere, and never swapped out where the kernel can promise that (Linux
 * 6.4, and not to a user namespace). Before Linux 6.15 such a mount cannot be copied; then it is the machine's own tmpfs.
 */
export function secretFile(value: Uint8Array, attributes: Attributes): SecretFile {
  return kernelAtLeast(6, 15) ? onOwnMount(value, attributes) : onSharedMount(value, attributes);
}

function onOwnMount(value: Uint8Array, { mode, uid, gid }: Attributes): SecretFile {
  const root = tmpfs();
  try {
    const file = openat(root, "secret", k.O_RDWR | k.O_CREAT | k.O_EXCL, 0o600);
    try {
      writeAll(file, value);
      chownat(file, "", uid, gid);
      chmod(file, mode);
    } catch (error) {
      close(file);
      throw error;
    }
    return {
      path: pathOf(file),
      close() {
        close(file);
        close(root);
      },
    };
  } catch (error) {
    close(root);
    throw error;
  }
}

function tmpfs(): number {
  const options: [string, string | undefined][] = [["mode", "0700"]];
  try {
    return detachedFilesystem("tmpfs", "tmpfs", [...options, ["noswap", undefined]]);
  } catch (error) {
    if (!["EINVAL", "EPERM"].includes(codeOf(error) ?? "")) throw error;
    return detachedFilesystem("tmpfs", "tmpfs", options);
  }
}

/** Exported for its test: the kernel may be newer. */
export function onSharedMount(value: Uint8Array, { mode, uid, gid }: Attributes): SecretFile {
  const directory = mkdtempSync(join(SHARED, `${PREFIX}${process.pid}-`));
  const remove = () => rmSync(directory, { recursive: true, force: true });
  try {
    const path = join(directory, "secret");
    writeFileSync(path, value, { mode: 0o600, flag: "wx" });
    chownSync(path, uid, gid);
    chmodSync(path, mode);
    return { path, close: remove };
  } catch (error) {
    remove();
    throw error;
  }
}

/** Removes what processes that were killed in the middle of a step have left on the machine's tmpfs. */
export function removeLeftSecrets(): void {
  if (!existsSync(SHARED)) return;
  for (const name of readdirSync(SHARED)) {
    const [, pid] = /^inro-secret-(\d+)-/.exec(name) ?? [];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    // In a sticky directory nobody else can put something in the place of what is ours.
    const stat = lstatSync(join(SHARED, name), { throwIfNoEntry: false });
    if (stat?.isDirectory() && stat.uid === process.geteuid!()) rmSync(join(SHARED, name), { recursive: true });
  }
}
