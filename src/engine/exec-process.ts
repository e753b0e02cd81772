import { mkdirSync, rmdirSync, rmSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { conflict, InroError, messageOf, unavailable } from "../base/errors.ts";
import { exec, LaunchError } from "../runtime/launch.ts";
import { type Running, STATUS_FILE } from "../runtime/running.ts";
import type { ExecCreateRequest } from "../spec/docker-api.ts";
import type { Spec } from "../spec/oci-runtime.ts";
import { execProcess } from "./config/exec-process.ts";
import type { Container } from "./container.ts";
import { type Context, openCgroup } from "./context.ts";
import { layersOf, lookupIn } from "./rootfs.ts";
import { specOfRunning } from "./start.ts";

/** What an exec's start failed with: docker's exit code goes into inspect. */
export function execExitCode(error: unknown): number {
  return error instanceof LaunchError ? error.exitCode : 126;
}

/** The command in an event's name. */
export function execCommandText({ Cmd }: ExecCreateRequest): string {
  return (Cmd ?? []).join(" ").slice(0, 1024);
}

/** Starts a process in a running container, in a run directory of its own. A failure leaves nothing behind. */
export async function launchExec(
  ctx: Context,
  container: Container,
  id: string,
  request: ExecCreateRequest,
): Promise<Running> {
  const { running } = container;
  if (!running) throw conflict(`container ${container.id} is not running`);
  const spec = specOf(ctx, container);
  const { upper, lower } = layersOf(ctx, container);
  const { config, host } = container.record;
  const process = execProcess({ id: container.id, config, host, spec }, request, lookupIn(upper, lower));
  container.cgroup ??= openCgroup(ctx, container);
  const { cgroup } = container;
  if (!cgroup) throw unavailable(`container ${container.id} has lost its cgroup`);
  const runDir = ctx.paths.execDir(container.id, id);
  mkdirSync(runDir, { mode: 0o700 });
  try {
    return await exec({ running, process, spec, cgroup, runDir, stdin: request.AttachStdin === true });
  } catch (error) {
    removeExecDirectory(runDir);
    throw error instanceof InroError ? error : unavailable(messageOf(error), error);
  }
}

/** Of an exec that has ended: the status file is all that is in it. */
export function removeExecDirectory(path: string): void {
  try {
    unlinkSync(join(path, STATUS_FILE));
    rmdirSync(path);
  } catch {
    rmSync(path, { recursive: true, force: true });
  }
}

function specOf(ctx: Context, container: Container): Spec {
  container.spec ??= specOfRunning(ctx, container);
  return container.spec;
}
