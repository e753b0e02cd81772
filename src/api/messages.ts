import { InroError, messageOf } from "../base/errors.ts";
import type { StreamMessage } from "../spec/docker-api.ts";
import type { Reply } from "./call.ts";

/**
 * A stream of JSON messages, CRLF between them. `work` reports by its argument. If it fails before its first message the
 * error has a status of its own; later the stream ends with an error message, for 200 has gone out.
 */
export async function messageStream(work: (report: (message: StreamMessage) => void) => Promise<void>): Promise<Reply> {
  const queue: string[] = [];
  let wake = () => {};
  let done = false;
  let first!: () => void;
  const started = new Promise<void>((resolve) => {
    first = resolve;
  });
  const report = (message: StreamMessage) => {
    queue.push(`${JSON.stringify(message)}\r\n`);
    first();
    wake();
  };
  let failure: unknown;
  const finished = work(report)
    .catch((error) => {
      failure = error;
    })
    .finally(() => {
      done = true;
      wake();
    });
  await Promise.race([started, finished]);
  if (failure && queue.length === 0) throw failure;
  return {
    status: 200,
    type: "application/json",
    stream: (async function* () {
      for (;;) {
        while (queue.length > 0) yield queue.splice(0).join("");
        if (done) break;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      if (failure) {
        const message = messageOf(failure);
        const code = failure instanceof InroError && failure.kind === "notFound" ? { code: 404 } : {};
        yield `${JSON.stringify({ errorDetail: { ...code, message }, error: message })}\r\n`;
      }
    })(),
  };
}
