import { codeOf, invalid } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close, statat } from "../linux/file.ts";
import { detachedFilesystem } from "../linux/mount.ts";
import type { IdMapping, Spec } from "../spec/oci-runtime.ts";
import { COPY_LIMITS, copyTree } from "./copy-up.ts";
import { coveredBy, type Given, isFresh, type PlannedMount, planMounts } from "./mount-plan.ts";
import { filesystemData } from "./mounts.ts";
import { openInTree } from "./tree.ts";
import { createUserNamespace } from "./userns.ts";

export interface Prepared {
  /** Index in the config. */
  mount: number;
  kind: keyof Given;
  /** The caller's to close. */
  fd: number;
}

/** Each may be a descriptor, and those of the spawned process must not meet ours. */
const MAX_PREPARED = 400;

/**
 * Makes what single mounts need before the container's program runs, on the host and attached nowhere: a user namespace
 * for each `uidMappings` and `gidMappings`, and for `tmpcopyup` a tmpfs that is filled already. The copying is done here,
 * from the image's directory, and not in the container: there is nobody in it yet who could change what is copied, and
 * rows of system calls could not walk a tree.
 */
export function prepareMounts(spec: Spec, layers: readonly string[]): Prepared[] {
  const prepared: Prepared[] = [];
  const namespaces = new Map<string, number>();
  try {
    const planned = planMounts(spec, layers);
    for (const [i, mount] of (spec.mounts ?? []).entries()) {
      const { uidMappings, gidMappings } = mount;
      if (uidMappings?.length && gidMappings?.length) {
        const key = JSON.stringify([uidMappings, gidMappings]);
        let fd = namespaces.get(key);
        if (fd === undefined) {
          fd = createUserNamespace(uidMappings, gidMappings);
          namespaces.set(key, fd);
        }
        prepared.push({ mount: i, kind: "userns", fd });
      }
      if (prepared.length > MAX_PREPARED) {
        throw invalid(`mounts: over ${MAX_PREPARED} with mappings of their own or tmpcopyup`);
      }
      if (planned[i]!.options.copyUp) {
        const fd = filledTmpfs(planned[i]!, planned.slice(0, i), layers, spec);
        if (fd !== undefined) prepared.push({ mount: i, kind: "mount", fd });
      }
    }
    return prepared;
  } catch (error) {
    for (const fd of new Set([...prepared.map(({ fd }) => fd), ...namespaces.values()])) close(fd);
    throw error;
  }
}

/** Undefined where nothing is covered: then it is a tmpfs as any other. */
function filledTmpfs(
  mount: PlannedMount,
  before: readonly PlannedMount[],
  layers: readonly string[],
  spec: Spec,
): number | undefined {
  const { destination, why, options } = mount;
  const covering = coveredBy(destination, before);
  if (covering && isFresh(covering)) return undefined;
  const binds = before.flatMap(({ kind, destination, source }) =>
    kind === "bind" && source ? [{ destination, source }] : [],
  );
  const source = openInTree({ layers, binds }, destination);
  if (source === undefined) return undefined;
  let made: number | undefined;
  try {
    if ((statat(source, "").mode & k.S_IFMT) !== k.S_IFDIR) throw invalid(`${why}: tmpcopyup: it is not a directory`);
    made = detachedFilesystem("tmpfs", mount.source ?? "tmpfs", hostIds(filesystemData(mount), spec, why));
    const sized = options.data.some(([key]) => key === "size" || key === "nr_blocks");
    copyTree(source, made, sized ? { limits: { ...COPY_LIMITS, bytes: Number.MAX_SAFE_INTEGER } } : {});
    return made;
  } catch (error) {
    if (made !== undefined) close(made);
    if (codeOf(error) === "EPERM") {
      throw invalid(
        `${why}: tmpcopyup: mounting needs CAP_SYS_ADMIN, which a plain user has in a user namespace only`,
        error,
      );
    }
    if (codeOf(error) === "ENOSPC")
      throw invalid(`${why}: tmpcopyup: what it covers does not fit into the tmpfs`, error);
    throw error;
  } finally {
    close(source);
  }
}

/** The options of a tmpfs name the container's ids; it is made on the host. */
function hostIds(
  data: readonly (readonly [string, string | undefined])[],
  { linux }: Spec,
  why: string,
): (readonly [string, string | undefined])[] {
  const userns = linux?.namespaces?.find(({ type }) => type === "user");
  if (!userns) return [...data];
  return data.map(([key, value]) => {
    const mappings = key === "uid" ? linux?.uidMappings : key === "gid" ? linux?.gidMappings : undefined;
    if (key !== "uid" && key !== "gid") return [key, value];
    const host = mapped(Number(value), mappings ?? []);
    if (host === undefined) throw invalid(`${why}: ${key}=${value} is not mapped in the user namespace`);
    return [key, String(host)];
  });
}

function mapped(id: number, mappings: readonly IdMapping[]): number | undefined {
  const range = mappings.find(({ containerID, size }) => id >= containerID && id < containerID + size);
  return range && range.hostID + (id - range.containerID);
}
