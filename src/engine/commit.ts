import { treeInChild } from "../archive/command.ts";
import { codeOf, conflict, invalid } from "../base/errors.ts";
import { applyChanges } from "../build/changes.ts";
import { tagTarget } from "../images/find.ts";
import { canonical, familiar } from "../images/reference.ts";
import type { ContainerConfig } from "../spec/docker-api.ts";
import type { ImageConfig } from "../spec/oci-image.ts";
import { mergeImage } from "./config/image-defaults.ts";
import { containerConfig } from "./config/request-fields.ts";
import type { Container } from "./container.ts";
import { changedTree } from "./container-changes.ts";
import { type Context, emit, openCgroup } from "./context.ts";
import { isHostImage } from "./host-image.ts";

/** The query of POST /commit. */
export interface CommitRequest {
  repo?: string | undefined;
  tag?: string | undefined;
  comment?: string | undefined;
  author?: string | undefined;
  /** Freeze a running container while its files are read. */
  pause: boolean;
  /** Dockerfile instructions. */
  changes: string[];
}

/**
 * Makes an image of a container: its image with one layer more. `body` is the untrusted ContainerConfig, over the
 * container's own; null is none. Answers the id. Volumes and binds are not in it.
 */
export async function commitContainer(
  ctx: Context,
  container: Container,
  body: unknown,
  request: CommitRequest,
  signal: AbortSignal,
): Promise<string> {
  const { record } = container;
  if (container.removed || container.state.status === "removing") {
    throw conflict(`cannot commit container ${record.id}: it is marked for removal`);
  }
  if (isHostImage(record.imageId)) {
    throw invalid(
      "cannot commit a container of the image host: its files are the machine's own; export gives them all",
    );
  }
  if (record.below !== undefined) {
    throw invalid(`cannot commit container ${record.name}: its files are another container's, which can be committed`);
  }
  const reference = request.repo ? tagTarget(request.repo, request.tag) : undefined;
  const own = imageConfig(record.config);
  const asked = body === undefined || body === null ? undefined : imageConfig(containerConfig(body, ""));
  // What a client sends is changed before it is completed, as in docker: an ENTRYPOINT does without the old CMD.
  const changed = applyChanges(asked ?? own, request.changes);
  const config = asked ? imageConfig(mergeImage(changed as ContainerConfig, own)) : changed;
  const tree = changedTree(ctx, container);
  const layer = async function* () {
    // Not earlier than it is read: it begins at once.
    if (tree) yield* treeInChild({ kind: "layer", tree }, signal);
    else yield new Uint8Array(EMPTY_TAR);
  };
  const { comment, author, repo, tag } = request;
  const id = await ctx.images.commit({
    parent: record.imageId,
    layer: request.pause ? frozen(ctx, container, layer()) : layer(),
    config,
    createdBy: (record.config.Cmd ?? []).join(" "),
    comment,
    author,
    repo,
    tag,
    signal,
  });
  if (reference) ctx.images.tagged(id, familiar(reference));
  emit(ctx, container, "commit", {
    comment: comment ?? "",
    imageID: id,
    imageRef: reference ? canonical(reference) : "",
  });
  return id;
}

const FIELDS = [
  "User",
  "ExposedPorts",
  "Env",
  "Entrypoint",
  "Cmd",
  "Volumes",
  "WorkingDir",
  "Labels",
  "StopSignal",
  "Shell",
  "OnBuild",
  "Healthcheck",
] as const;

/** What of a container's config an image has. */
function imageConfig(config: ContainerConfig): NonNullable<ImageConfig["config"]> {
  const present = FIELDS.filter((name) => config[name] !== undefined && config[name] !== null);
  return Object.fromEntries(present.map((name) => [name, config[name]]));
}

/** A container that ends meanwhile takes its cgroup along, and writes no more. */
function unlessGone(error: unknown): void {
  if (codeOf(error) !== "ENOENT" && codeOf(error) !== "ENODEV") throw error;
}

/** Two blocks of zeros: a tar without members. */
const EMPTY_TAR = 1024;

/** Reads with the container frozen, if it runs: no file is caught half written. An engine that dies thaws it later. */
async function* frozen(ctx: Context, container: Container, tar: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const cgroup = container.state.status === "running" ? openCgroup(ctx, container) : undefined;
  if (!cgroup) {
    yield* tar;
    return;
  }
  try {
    await container.mutex.run(async () => {
      // It may have been killed meanwhile.
      if (container.state.status !== "running") return;
      container.state = { ...container.state, status: "paused", commit: true };
      ctx.store.updateState(container.id, container.state);
      emit(ctx, container, "pause");
      await cgroup.freeze().catch(unlessGone);
    });
    yield* tar;
  } finally {
    await container.mutex.run(async () => {
      if (!container.state.commit) return;
      if (container.state.status === "paused") await cgroup.thaw().catch(unlessGone);
      // Somebody may have thawed it, or ended it.
      const { commit: _, ...state } = container.state;
      const paused = state.status === "paused";
      container.state = paused ? { ...state, status: "running" } : state;
      ctx.store.updateState(container.id, container.state);
      if (paused) emit(ctx, container, "unpause");
    });
  }
}
