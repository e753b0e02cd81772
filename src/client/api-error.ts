/** An answer of the engine with status 400 or above; `message` is its text (Engine API, "Errors"). */
export class ApiError extends Error {
  override name = "ApiError";
  constructor(
    readonly status: number,
    message: string,
    /** The answer's Server header: who refuses, "inro/…" or another engine. */
    readonly server = "",
  ) {
    super(message);
  }
}

/** True for an ApiError with this status. */
export function isStatus(error: unknown, status: number): error is ApiError {
  return error instanceof ApiError && error.status === status;
}
