import { parseMount } from "../dockerfile/mounts.ts";
import type { ContextVertex, MountDefinition, Vertex } from "../graph.ts";

/** What the mounts of a RUN are looked up in. */
export interface MountScope {
  /** Expands a word. */
  word(text: string): string;
  /** A path from WORKDIR. */
  absolute(path: string): string;
  /** Of `from=`: an earlier stage, a context or an image. */
  from(name: string): Promise<Vertex>;
  /** The build's own context; invalid when it has none. */
  context(): ContextVertex;
  /** BUILDKIT_CACHE_MOUNT_NS: keeps the caches of one build apart from others'. */
  readonly cacheNamespace: string | undefined;
}

/**
 * RUN's `--mount` flags as the graph has them. `agent` is where the first ssh mount has its socket. Errors are invalid,
 * and those of the scope.
 */
export async function mountDefinitions(
  flags: readonly string[],
  scope: MountScope,
): Promise<{ mounts: MountDefinition[]; agent: string | undefined }> {
  const mounts: MountDefinition[] = [];
  const agents: string[] = [];
  for (const flag of flags) {
    const mount = parseMount(flag, (word) => scope.word(word));
    const from = mount.from ? await scope.from(mount.from) : undefined;
    const path = mount.source ?? "/";
    const { readOnly, required, uid = 0, gid = 0 } = mount;
    const target = mount.target ? scope.absolute(mount.target) : undefined;
    switch (mount.type) {
      case "bind":
        mounts.push({ type: "bind", target: target!, from: from ?? scope.context(), path, readOnly });
        break;
      case "cache": {
        const id = mount.id || target!;
        mounts.push({
          type: "cache",
          target: target!,
          id: scope.cacheNamespace ? `${scope.cacheNamespace}/${id}` : id,
          sharing: mount.sharing ?? "shared",
          ...(from ? { from } : {}),
          path,
          readOnly,
          mode: mount.mode ?? 0o755,
          uid,
          gid,
        });
        break;
      }
      case "tmpfs":
        mounts.push({ type: "tmpfs", target: target!, ...(mount.size ? { size: mount.size } : {}) });
        break;
      case "secret": {
        const id = mount.id || mount.source || (mount.target ?? "").split("/").at(-1)!;
        const place = target ?? (mount.env ? undefined : `/run/secrets/${id.split("/").at(-1)}`);
        mounts.push({
          type: "secret",
          id,
          ...(place ? { target: place } : {}),
          ...(mount.env ? { env: mount.env } : {}),
          required,
          mode: mount.mode ?? 0o400,
          uid,
          gid,
        });
        break;
      }
      case "ssh": {
        const place = target ?? `/run/buildkit/ssh_agent.${agents.length}`;
        agents.push(place);
        mounts.push({
          type: "ssh",
          id: mount.id || "default",
          target: place,
          required,
          mode: mount.mode ?? 0o600,
          uid,
          gid,
        });
      }
    }
  }
  return { mounts, agent: agents[0] };
}
