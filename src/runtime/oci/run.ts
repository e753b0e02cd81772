import { existsSync } from "node:fs";
import { messageOf } from "../../base/errors.ts";
import type { Created } from "./create.ts";
import { destroy } from "./delete.ts";
import { EXEC_FIFO } from "./state.ts";

/** `run` after the container is there: starts it if it waits, and in the foreground stays until its end. */
export async function runContainer(
  created: Created,
  options: { detach: boolean; keep: boolean; warn(message: string): void },
): Promise<number> {
  const { directory, state, spec, cgroup, exit, master } = created;
  let attached: Promise<number> | undefined;
  try {
    if (!options.detach) {
      const { attend } = await import("./attend.ts");
      attached = attend(state.pid, exit!, master);
    }
    if (spec.hooks) {
      // Whatever fails here is undone below.
      const nothing = async () => {};
      const { poststart, startContainer } = await import("./start.ts");
      // With startContainer hooks it waits, as after create.
      if (existsSync(directory.file(EXEC_FIFO))) await startContainer(directory, state, spec, nothing);
      else await poststart(state, spec, nothing);
    }
  } catch (error) {
    await destroy(directory, state, cgroup, spec, options.warn);
    throw error;
  }
  if (!attached) return 0;
  const code = await attached;
  if (!options.keep) {
    try {
      await destroy(directory, state, cgroup, spec, options.warn);
    } catch (error) {
      options.warn(messageOf(error));
    }
  }
  return code;
}
