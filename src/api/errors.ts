import { type ErrorKind, InroError, messageOf } from "../base/errors.ts";

/** The one place where kinds of errors become statuses. */
const STATUS: Record<ErrorKind, number> = {
  notModified: 304,
  invalid: 400,
  unauthorized: 401,
  forbidden: 403,
  notFound: 404,
  conflict: 409,
  internal: 500,
  notImplemented: 501,
  unavailable: 503,
};

export function statusOf(error: unknown): number {
  return error instanceof InroError ? STATUS[error.kind] : 500;
}

/** Docker's error body. */
export function errorBody(error: unknown): string {
  return `${JSON.stringify({ message: messageOf(error) })}\n`;
}
