import { existsSync } from "node:fs";
import { extractInChild, packInChild, statInChild, treeInChild } from "../archive/command.ts";
import { containerPath } from "../archive/path.ts";
import { conflict, InroError, invalid, notFound } from "../base/errors.ts";
import type { IdRange } from "../layers/owners.ts";
import type { PathStat } from "../spec/docker-api.ts";
import { type CommitRequest, commitContainer } from "./commit.ts";
import { findUser } from "./config/process.ts";
import type { Container } from "./container.ts";
import { type Context, emit } from "./context.ts";
import { openFiles } from "./files.ts";
import { hiddenIn, layersOf, lookupIn, prepareRootfs } from "./rootfs.ts";
import type { Volumes } from "./volumes.ts";
import { orRemoved, whileThere } from "./while-there.ts";

export interface ExtractRequest {
  /** A tar: plain, gzip, zstd, bzip2 or xz. */
  source: AsyncIterable<Uint8Array>;
  noOverwriteDirNonDir?: boolean;
  /** All becomes the property of the container's user. */
  copyUIDGID?: boolean;
}

/**
 * Files of containers, in and out (`docker cp`), of running and stopped ones. A path is the container's, and never leads
 * out of it; how it ends matters ({@link file://../archive/path.ts}). One that is not there is notFound.
 */
export class Archives {
  constructor(
    private readonly ctx: Context,
    private readonly volumes: Volumes,
  ) {}

  /** HEAD /containers/{id}/archive. */
  async stat(ref: string, path: string, signal: AbortSignal): Promise<PathStat> {
    const container = this.ctx.table.get(ref);
    const work = workOf(container, path);
    const files = await whileThere(container, openFiles(this.ctx, this.volumes, container, signal));
    try {
      return await statInChild(files.namespace, work, files.signal);
    } catch (error) {
      throw missing(error, container, ref, path);
    } finally {
      files.close();
    }
  }

  /** GET /containers/{id}/archive: the tar must be read to its end, or left by `return`. */
  async pack(
    ref: string,
    path: string,
    signal: AbortSignal,
  ): Promise<{ stat: PathStat; tar: AsyncIterable<Uint8Array> }> {
    const container = this.ctx.table.get(ref);
    const work = workOf(container, path);
    const files = await whileThere(container, openFiles(this.ctx, this.volumes, container, signal));
    try {
      const { stat, tar, ended } = await packInChild(files.namespace, work, files.signal);
      void ended.catch(() => {}).then(() => files.close());
      emit(this.ctx, container, "archive-path");
      return { stat, tar };
    } catch (error) {
      files.close();
      throw missing(error, container, ref, path);
    }
  }

  /** PUT /containers/{id}/archive: into the directory `path`. */
  async extract(ref: string, path: string, request: ExtractRequest, signal: AbortSignal): Promise<void> {
    const container = this.ctx.table.get(ref);
    const work = {
      ...workOf(container, path),
      owner: request.copyUIDGID ? this.#ownerOf(container) : ("archive" as const),
      noOverwriteDirNonDir: request.noOverwriteDirNonDir === true,
    };
    const files = await whileThere(container, openFiles(this.ctx, this.volumes, container, signal));
    try {
      await extractInChild(files.namespace, work, request.source, files.signal);
      emit(this.ctx, container, "extract-to-dir");
    } catch (error) {
      throw missing(error, container, ref, path);
    } finally {
      files.close();
    }
  }

  /** GET /containers/{id}/export: all that its layers show, without volumes and binds. As of {@link pack}. */
  export(ref: string, signal: AbortSignal): AsyncIterable<Uint8Array> {
    const container = this.ctx.table.get(ref);
    if (container.removed || container.state.status === "removing") {
      throw conflict(`cannot export container ${container.id}: it is marked for removal`);
    }
    // Where it was never started, nothing of the machine is hidden yet.
    if (hiddenIn(this.ctx, container).length > 0) prepareRootfs(this.ctx, container);
    const { upper, lower } = layersOf(this.ctx, container);
    const { userns } = container.record;
    const tree = { lowers: lower, ...(existsSync(upper) ? { upper, ids: userns } : {}) };
    const tar = treeInChild({ kind: "rootfs", tree }, signal);
    emit(this.ctx, container, "export");
    return tar;
  }

  /** POST /commit: see {@link commitContainer}. */
  commit(ref: string, body: unknown, request: CommitRequest, signal: AbortSignal): Promise<string> {
    const container = this.ctx.table.get(ref);
    return whileThere(container, commitContainer(this.ctx, container, body, request, signal));
  }

  #ownerOf(container: Container): { uid: number; gid: number } {
    const { config, userns, imageId } = container.record;
    const { upper, lower } = layersOf(this.ctx, container);
    const { uid, gid } = findUser(lookupIn(upper, lower, imageId), config.User ?? "", [], userns?.size);
    return { uid, gid };
  }
}

function workOf(container: Container, path: string): { path: string; ids?: IdRange } {
  if (path === "") throw invalid("bad parameter: path is required");
  const { userns } = container.record;
  return { path: containerPath(path), ...(userns ? { ids: userns } : {}) };
}

/** In docker's words, which are the client's. */
function missing(error: unknown, container: Container, ref: string, path: string): unknown {
  if (!(error instanceof InroError) || error.kind !== "notFound") return orRemoved(error, container);
  return notFound(`Could not find the file ${path.slice(0, 4096)} in container ${ref}`, error);
}
