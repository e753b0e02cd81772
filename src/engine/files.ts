import { mkdirSync } from "node:fs";
import { newId } from "../base/digest.ts";
import { conflict, InroError, messageOf, unavailable } from "../base/errors.ts";
import { close } from "../linux/file.ts";
import { holdFiles } from "../runtime/hold.ts";
import type { Mount } from "../spec/oci-runtime.ts";
import { ZERO_TIME } from "./clock.ts";
import { hostFacts } from "./config/host-facts.ts";
import { namespaceModes } from "./config/modes.ts";
import { ociMounts } from "./config/mounts.ts";
import type { Container } from "./container.ts";
import type { Context } from "./context.ts";
import { Copies } from "./copies.ts";
import { openNamespaceOf } from "./join.ts";
import { writeManagedFiles } from "./managed-files.ts";
import { mountSources } from "./mount-sources.ts";
import { prepareRootfs } from "./rootfs.ts";
import { removeRunDirectory } from "./run-directory.ts";
import { fillVolumes } from "./volumes/fill.ts";
import type { Volumes } from "./volumes.ts";

/** A container's files, open. `close` is called once, when no process uses them any more. */
export interface OpenFiles {
  /** A descriptor of the mount namespace that has them; it is this object's. */
  namespace: number;
  signal: AbortSignal;
  close(): void;
}

/**
 * Opens the files of a container, whether it runs or not. A running one's are in its own mount namespace. Else they are
 * mounted for the purpose, by a process that holds them, and the container has its turn when that is over: two overlays
 * on one upper directory would not know of each other. `signal` of the result fires too when the container goes.
 */
export async function openFiles(
  ctx: Context,
  volumes: Volumes,
  container: Container,
  signal: AbortSignal,
): Promise<OpenFiles> {
  container.copies ??= new Copies();
  const { copies } = container;
  const namespace = namespaceOf(container);
  const copy = copies.begin(signal, namespace !== undefined);
  if (namespace !== undefined) {
    const closeAll = () => {
      close(namespace);
      copy.close();
    };
    return { namespace, signal: copy.signal, close: closeAll };
  }
  return await new Promise<OpenFiles>((resolve, reject) => {
    void container.mutex.run(async () => {
      try {
        const { namespace, close } = await openStopped(ctx, volumes, container, copy.signal);
        await new Promise<void>((release) => resolve({ namespace, signal: copy.signal, close: release }));
        await close();
      } catch (error) {
        reject(error);
      } finally {
        copy.close();
      }
    });
  });
}

/** Of a container that runs; undefined if it does not. */
function namespaceOf(container: Container): number | undefined {
  const { running } = container;
  return container.isRunning && running ? openNamespaceOf(running, "mount") : undefined;
}

async function openStopped(
  ctx: Context,
  volumes: Volumes,
  container: Container,
  signal: AbortSignal,
): Promise<{ namespace: number; close(): Promise<void> }> {
  signal.throwIfAborted();
  // It may have been started, or removed, while others had their turn.
  const own = namespaceOf(container);
  if (own !== undefined) return { namespace: own, close: async () => close(own) };
  if (container.removed) throw conflict(`container ${container.id} has been removed`);
  if (container.state.status === "removing") throw conflict(`container ${container.id} is marked for removal`);
  await container.finished;
  const { userns, host } = container.record;
  // As if it were started: what the image has there is in its volumes by then.
  if (container.state.startedAt === ZERO_TIME) await fillVolumes(volumes, container);
  const sources = mountSources(volumes, container, { forFiles: true });
  const runDir = ctx.paths.runDir(`files-${newId().slice(0, 12)}`);
  try {
    const rootfs = prepareRootfs(ctx, container);
    const mounts = ociMounts({
      host,
      modes: namespaceModes(host, ctx.hierarchy.mode),
      volumes: sources.mounts,
      files: writeManagedFiles(ctx, container),
      writableCgroups: false,
      recursiveReadOnly: hostFacts().kernel.major > 5 || hostFacts().kernel.minor >= 12,
      idmap: userns !== undefined,
    });
    const asked = new Set(sources.mounts.map(({ destination }) => destination));
    const mapping = userns ? [{ containerID: 0, ...userns }] : [];
    mkdirSync(runDir, { mode: 0o700 });
    const held = await holdFiles({
      runDir,
      rootfs,
      spec: {
        ociVersion: "1.2.1",
        root: { path: "rootfs", readonly: host.ReadonlyRootfs ?? false },
        mounts: mounts.flatMap((mount) => fileMount(mount, asked)),
        linux: {
          namespaces: [{ type: "mount" }, ...(userns ? [{ type: "user" } as const] : [])],
          ...(userns ? { uidMappings: mapping, gidMappings: mapping } : {}),
        },
      },
    });
    const namespace = openNamespaceOf(held, "mount");
    const release = async () => {
      held.release();
      await removeRunDirectory(runDir);
    };
    if (namespace === undefined) {
      await release();
      throw unavailable("the process that holds the container's files has ended");
    }
    return {
      namespace,
      async close() {
        close(namespace);
        await release();
      },
    };
  } catch (error) {
    await removeRunDirectory(runDir);
    throw error instanceof InroError ? error : unavailable(messageOf(error), error);
  } finally {
    sources.close();
    volumes.held.release(container.id);
  }
}

/**
 * Of a container that does not run: what is bound into it. What it has in a tmpfs begins with the run and ends with it,
 * so nothing can be put there before.
 */
function fileMount(mount: Mount, asked: ReadonlySet<string>): Mount[] {
  if (mount.type === "bind") return mount.destination === "/dev/shm" && !asked.has("/dev/shm") ? [] : [mount];
  if (mount.type !== "tmpfs" || !asked.has(mount.destination)) return [];
  return [{ ...mount, options: [...(mount.options ?? []).filter((option) => option !== "rw"), "ro"] }];
}
