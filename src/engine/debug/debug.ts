import { invalid } from "../../base/errors.ts";
import { TOOLS_PLACE } from "../../runtime/toolbox.ts";
import type { DebugCreated, DebugRequest } from "../../spec/debug.ts";
import type { ExecCreateRequest } from "../../spec/docker-api.ts";
import { boolean, list, object, text } from "../config/fields.ts";
import { HOST_IMAGE } from "../config/modes.ts";
import type { Context } from "../context.ts";
import type { Execs } from "../execs.ts";
import { forceEnd } from "../stop.ts";
import type { Volumes } from "../volumes.ts";
import { debugTarget } from "./target.ts";
import { hasTool, openToolbox } from "./toolbox.ts";

const debugRequest = object<DebugRequest>({
  Target: text,
  Image: text,
  Shell: text,
  Command: text,
  User: text,
  WorkingDir: text,
  Env: list(text),
  Privileged: boolean,
  Tty: boolean,
  AttachStdin: boolean,
  DetachKeys: text,
});

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * Prepares a shell with tools in the namespaces of a container that may have none: an exec instance like any other, whose
 * mount namespace is its own, and which may trace (CAP_SYS_PTRACE) besides what the container may. `body` is untrusted.
 */
export async function createDebug(
  ctx: Context,
  parts: { volumes: Volumes; execs: Execs },
  body: unknown,
  signal: AbortSignal,
): Promise<DebugCreated> {
  const request = debugRequest(body, "");
  if (!request.Target) throw invalid("debug: no container or image named");
  const image = request.Image || HOST_IMAGE;
  const tools = await openToolbox(ctx, image, signal);
  try {
    const shell = request.Shell || (hasTool(tools, "bash") ? "bash" : "sh");
    if (!hasTool(tools, shell)) throw invalid(`debug: the tools of ${image} have no ${JSON.stringify(shell)}`);
    const { container, own } = await debugTarget(ctx, parts.volumes, request.Target);
    const end = () => {
      tools.close();
      if (own) void forceEnd(ctx, container).catch((error) => ctx.log(`debug ${container.id}: ${String(error)}`));
    };
    try {
      const path = container.record.config.Env?.find((entry) => entry.startsWith("PATH="))?.slice(5) || DEFAULT_PATH;
      const exec: ExecCreateRequest = {
        Cmd: [`${TOOLS_PLACE}/bin/${shell}`, ...(request.Command === undefined ? [] : ["-c", request.Command])],
        User: request.User || "0:0",
        Env: [
          `PATH=${TOOLS_PLACE}/bin:${path}`,
          `SHELL=${TOOLS_PLACE}/bin/${shell}`,
          `TERMINFO_DIRS=${TOOLS_PLACE}/root/lib/terminfo:${TOOLS_PLACE}/root/usr/share/terminfo:/usr/share/terminfo`,
          // Other shells would show it as it stands.
          `PS1=debug ${shell === "bash" ? "\\w \\$" : "#"} `,
          ...(request.Env ?? []),
        ],
        Tty: request.Tty ?? false,
        AttachStdin: request.AttachStdin ?? false,
        AttachStdout: true,
        AttachStderr: true,
        ...(request.WorkingDir ? { WorkingDir: request.WorkingDir } : {}),
        ...(request.Privileged ? { Privileged: true } : {}),
        ...(request.DetachKeys ? { DetachKeys: request.DetachKeys } : {}),
      };
      const { Id } = await parts.execs.create(container.id, exec, { tools, end });
      return { Id, Container: container.id, Own: own };
    } catch (error) {
      end();
      throw error;
    }
  } catch (error) {
    tools.close();
    throw error;
  }
}
