import type { CreateResponse, WaitResponse } from "./docker-api.ts";

/**
 * `POST /inro/run`, inro's own request: create, attach, wait and start in one. Its body and query are those of
 * `POST /containers/create`, and `detachKeys`; the connection is upgraded. The engine then sends docker's frames: 1 and
 * 2 carry output (a terminal's is 1), and the numbers below one JSON message each. `created` comes first, when the start
 * has succeeded or failed; `failed` or `exited` is the last one, and neither comes after a detach. The client sends the
 * process's stdin.
 */
export const RUN_MESSAGE = { created: 4, failed: 5, exited: 6 } as const;

export type RunCreated = CreateResponse;
/** `exitCode` is what `docker run` exits with: 126 cannot be executed, 127 not found, 125 anything else. */
export interface RunFailed {
  message: string;
  exitCode: 125 | 126 | 127;
}
/** Of a container that removes itself: after the removal. */
export type RunExited = WaitResponse;
