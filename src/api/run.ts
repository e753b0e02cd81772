import { invalid, messageOf } from "../base/errors.ts";
import { DetachKeys, parseDetachKeys } from "../engine/detach-keys.ts";
import { LaunchError } from "../runtime/launch.ts";
import type { CreateRequest } from "../spec/docker-api.ts";
import { RUN_MESSAGE, type RunCreated, type RunExited, type RunFailed } from "../spec/run-stream.ts";
import { type Handler, jsonBody } from "./call.ts";
import { frames } from "./frames.ts";

const TYPE = "application/vnd.inro.run-stream";

/** One round trip for `inro run`; src/spec/run-stream.ts has the protocol. Errors before the container exists are plain answers. */
export const runRoutes: Record<string, Handler> = {
  "POST /inro/run": async (call) => {
    if (!call.upgrade) throw invalid("run: the request must upgrade its connection");
    const { containers } = call.engine;
    const detachKeys = call.query.get("detachKeys") || undefined;
    // What the attachment does with them too; here they only tell a detach from the process's end.
    const keys = new DetachKeys(parseDetachKeys(detachKeys));
    const body = await jsonBody(call);
    const created: RunCreated = await containers.create(
      body,
      call.query.get("name") || undefined,
      call.query.get("platform") || undefined,
      call.bounds,
    );
    const { AttachStdin, AttachStdout, AttachStderr, HostConfig } = body as CreateRequest;
    const attachment = await containers.attach(created.Id, {
      stream: true,
      stdin: AttachStdin === true,
      stdout: AttachStdout === true,
      stderr: AttachStderr === true,
      ...(detachKeys === undefined ? {} : { detachKeys }),
    });
    const waiting = containers.wait(created.Id, HostConfig?.AutoRemove ? "removed" : "next-exit");
    let detached = false;
    let close = () => {};
    const closed = new Promise<undefined>((resolve) => {
      close = () => resolve(undefined);
    });
    // After the answer's header has gone out: the client gets ready meanwhile.
    const started = new Promise<RunFailed | undefined>((resolve) => {
      setImmediate(() =>
        containers.start(created.Id).then(
          () => resolve(undefined),
          (error) => resolve(failure(error)),
        ),
      );
    });

    const output = async function* () {
      const failed = await started;
      yield message(RUN_MESSAGE.created, created);
      if (failed) {
        yield message(RUN_MESSAGE.failed, failed);
        return;
      }
      yield* frames(attachment.output, false);
      if (detached) return;
      const exited: RunExited | undefined = await Promise.race([waiting.result, closed]);
      if (exited) yield message(RUN_MESSAGE.exited, exited);
    };
    return {
      hijack: {
        type: TYPE,
        output: output(),
        input: async (data) => {
          if (attachment.tty && keys.filter(data).detach) detached = true;
          await attachment.write(data);
        },
        endInput: () => attachment.endInput(),
        close: () => {
          attachment.close();
          waiting.cancel();
          close();
        },
      },
    };
  },
};

function failure(error: unknown): RunFailed {
  const exitCode = error instanceof LaunchError && error.exitCode !== 128 ? error.exitCode : 125;
  return { message: messageOf(error), exitCode };
}

/** A frame (Engine API, "Stream format") with a stream number of this protocol. */
function message(stream: number, value: RunCreated | RunFailed | RunExited): Buffer {
  const text = JSON.stringify(value);
  const frame = Buffer.alloc(8 + Buffer.byteLength(text));
  frame[0] = stream;
  frame.writeUInt32BE(frame.length - 8, 4);
  frame.write(text, 8);
  return frame;
}
