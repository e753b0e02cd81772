import { mkdirSync } from "node:fs";
import { conflict, InroError, messageOf, unavailable } from "../base/errors.ts";
import { exec, LaunchError } from "../runtime/launch.ts";
import type { Running } from "../runtime/running.ts";
import type { Toolbox } from "../runtime/toolbox.ts";
import type { ExecCreateRequest } from "../spec/docker-api.ts";
import type { Capabilities, Spec } from "../spec/oci-runtime.ts";
import { execProcess } from "./config/exec-process.ts";
import { hostFacts } from "./config/host-facts.ts";
import { findUser } from "./config/process.ts";
import type { Container } from "./container.ts";
import { type Context, openCgroup } from "./context.ts";
import { layersOf, lookupIn } from "./rootfs.ts";
import { removeExecDirectory } from "./run-directory.ts";
import { specOfRunning } from "./start.ts";

/** What an exec's start failed with: docker's exit code goes into inspect. */
export function execExitCode(error: unknown): number {
  return error instanceof LaunchError ? error.exitCode : 126;
}

/** The command in an event's name. */
export function execCommandText({ Cmd }: ExecCreateRequest): string {
  return (Cmd ?? []).join(" ").slice(0, 1024);
}

/** A user that the container does not know is invalid, as in docker when the exec is created. It may go until the start. */
export function checkExecUser(ctx: Context, container: Container, user: string): void {
  const { upper, lower } = layersOf(ctx, container);
  const { imageId, userns } = container.record;
  findUser(lookupIn(upper, lower, imageId), user, [], userns?.size);
}

/** Starts a process in a running container, in a run directory of its own. A failure leaves nothing behind. */
export async function launchExec(
  ctx: Context,
  container: Container,
  id: string,
  request: ExecCreateRequest,
  tools?: Toolbox,
): Promise<Running> {
  const { running } = container;
  if (!running) throw conflict(`container ${container.id} is not running`);
  const spec = specOf(ctx, container);
  const { upper, lower } = layersOf(ctx, container);
  const { config, host } = container.record;
  const asked = execProcess(
    { id: container.id, config, host, spec },
    request,
    lookupIn(upper, lower, container.record.imageId),
  );
  const process = tools ? { ...asked, capabilities: withPtrace(asked.capabilities) } : asked;
  const cgroup = openCgroup(ctx, container);
  if (!cgroup && !ctx.hierarchy.delegated) throw unavailable(`container ${container.id} has lost its cgroup`);
  const runDir = ctx.paths.execDir(container.id, id);
  mkdirSync(runDir, { mode: 0o700 });
  try {
    return await exec({ running, process, spec, cgroup, runDir, stdin: request.AttachStdin === true, tools });
  } catch (error) {
    removeExecDirectory(runDir);
    throw error instanceof InroError ? error : unavailable(messageOf(error), error);
  }
}

const PTRACE = "CAP_SYS_PTRACE";

/** What debugging needs and containers have not, as far as the engine has it: to trace processes of other users. */
function withPtrace(sets: Capabilities | undefined): Capabilities {
  if (!hostFacts().capabilities.includes(PTRACE)) return sets ?? {};
  const added = Object.entries(sets ?? {}).map(([set, names]) => [set, [...new Set([...names, PTRACE])]]);
  return Object.fromEntries(added) as Capabilities;
}

function specOf(ctx: Context, container: Container): Spec {
  container.spec ??= specOfRunning(ctx, container);
  return container.spec;
}
