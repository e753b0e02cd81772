import { codeOf, notFound } from "../../base/errors.ts";
import { openLayers } from "../../layers/copy-directory.ts";
import * as k from "../../linux/constants.ts";
import { close, openat, openat2 } from "../../linux/file.ts";
import type { FileSource, StepContext } from "../step.ts";

/** Of a descriptor of ours, for as long as it is open. */
export const pathOf = (fd: number) => `/proc/${process.pid}/fd/${fd}`;

/** The directory that a source is, O_PATH or a detached mount; the caller closes it. Undefined: it has no files. */
export function openSource(source: FileSource, { layers }: StepContext): number | undefined {
  if (source.kind === "directory") return openat(k.AT_FDCWD, source.path, k.O_PATH | k.O_DIRECTORY);
  const diffIds = source.snapshot.layers.map(({ diffId }) => diffId);
  return diffIds.length === 0 ? undefined : openLayers(layers.lowers(diffIds));
}

/** Something in a source; what keeps it there is open until it is closed. */
export interface Opened {
  readonly fd: number;
  close(): void;
}

/**
 * What `path` is in a source, O_PATH. Symlinks lead nowhere else than into the source (CVE-2024-23651). One that is not
 * there is notFound, in BuildKit's words.
 */
export function openInSource(source: FileSource, path: string, ctx: StepContext): Opened {
  const root = openSource(source, ctx);
  const missing = () => notFound(`${JSON.stringify(path)}: not found`);
  if (root === undefined) throw missing();
  try {
    const fd = openat2(root, path, k.O_PATH, 0, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS);
    return {
      fd,
      close() {
        close(fd);
        // A detached mount goes with its descriptor, and nothing in it can be mounted after that.
        close(root);
      },
    };
  } catch (error) {
    close(root);
    if (["ENOENT", "ENOTDIR", "ELOOP"].includes(codeOf(error) ?? "")) throw missing();
    throw error;
  }
}
