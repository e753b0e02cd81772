import { ApiError } from "../client/api-error.ts";

/** Docker's words for an error that the engine answered; the message of any other. */
export function errorText(error: unknown): string {
  if (error instanceof ApiError) return `Error response from daemon: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}
