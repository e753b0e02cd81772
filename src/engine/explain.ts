import { describe, type Step } from "../program/print.ts";
import { launchProgram, launchTraced, type Trace } from "../runtime/launch.ts";
import type { Context } from "./context.ts";
import { createContainer } from "./create.ts";
import { removeContainer } from "./remove.ts";
import { prepareLaunch, startContainer } from "./start.ts";
import type { Volumes } from "./volumes.ts";

/** A step of a launch; timed ones have reported before the command ran. */
export interface ExplainedStep extends Step {
  microseconds?: number;
}

/**
 * What a create request comes to, step by step. A container is made for it, so that every path and descriptor is the
 * real one, and removed again; its command runs only with `trace`.
 */
export async function explain(
  ctx: Context,
  volumes: Volumes,
  body: unknown,
  options: { trace: boolean },
): Promise<{ steps: ExplainedStep[] }> {
  const { Id } = createContainer(ctx, volumes, { body });
  const container = ctx.table.get(Id);
  try {
    if (!options.trace) {
      return await container.mutex.run(async () => {
        const { state } = container;
        const network = ctx.endpoints.reserve(container);
        if (network) container.state = { ...state, network };
        try {
          const prepared = await prepareLaunch(ctx, volumes, container);
          try {
            return { steps: describe(launchProgram(prepared.request)).map((step) => withoutId(step, Id)) };
          } finally {
            prepared.close();
            await prepared.undo();
          }
        } finally {
          if (network) ctx.endpoints.release(container, network);
          container.state = state;
        }
      });
    }
    let timed: Trace | undefined;
    await container.mutex.run(() =>
      startContainer(ctx, volumes, container, {
        run: async (request) => {
          const { running, trace } = await launchTraced(request);
          timed = trace;
          return running;
        },
      }),
    );
    const steps: ExplainedStep[] = describe(timed!.program).map((step) => withoutId(step, Id));
    for (const { row, microseconds } of await timed!.steps) {
      const step = steps[row];
      if (step) step.microseconds = microseconds;
    }
    return { steps };
  } finally {
    container.running?.end();
    await container.finished;
    await container.mutex.run(() => removeContainer(ctx, volumes, container, { volumes: true }));
  }
}

/** The id is drawn anew each time, and says nothing: two launches should differ in what they do. */
function withoutId(step: Step, id: string): Step {
  const plain = (text: string) => text.replaceAll(id, "ID").replaceAll(id.slice(0, 12), "ID");
  return { ...step, text: plain(step.text), args: step.args.map(plain) };
}
