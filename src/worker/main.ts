import { writeSync } from "node:fs";
import { InroError, messageOf } from "../base/errors.ts";
import { sys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";

/** What a worker tells the engine, lines of JSON on stderr: something of its own, as often as it likes, then its end. */
export type WorkerMessage<M> = { say: M } | { done: true } | { error: { kind: InroError["kind"]; message: string } };

const SIGKILL = 9;
const STDERR = 2;

/** Does the work of a worker and tells its end. The result is the exit code. */
export async function workerMain(work: () => Promise<void> | void): Promise<number> {
  // An engine that dies takes its workers with it.
  sys("prctl", "PR_SET_PDEATHSIG", k.PR_SET_PDEATHSIG, SIGKILL);
  try {
    await work();
    send({ done: true });
    return 0;
  } catch (error) {
    send({ error: { kind: error instanceof InroError ? error.kind : "internal", message: messageOf(error) } });
    return 1;
  }
}

/** Tells the engine something before the end. */
export const say = <M>(message: M): void => send({ say: message });

function send(message: WorkerMessage<unknown>): void {
  writeSync(STDERR, `${JSON.stringify(message)}\n`);
}
