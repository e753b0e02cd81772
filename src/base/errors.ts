import { constants } from "node:os";

/** What kind of failure an error is; mapped once to HTTP (api/), once to exit codes (cli/). */
export type ErrorKind =
  | "notFound"
  | "conflict"
  | "invalid"
  | "notModified"
  | "forbidden"
  | "unauthorized"
  | "unavailable"
  | "notImplemented"
  | "internal";

/** An error that is meant for the user: the message says operation, object and cause; lower case, no full stop. */
export class InroError extends Error {
  override name = "InroError";
  constructor(
    readonly kind: ErrorKind,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

export const notFound = (message: string, cause?: unknown) => new InroError("notFound", message, { cause });
export const conflict = (message: string, cause?: unknown) => new InroError("conflict", message, { cause });
export const invalid = (message: string, cause?: unknown) => new InroError("invalid", message, { cause });
export const unavailable = (message: string, cause?: unknown) => new InroError("unavailable", message, { cause });
export const notImplemented = (message: string) => new InroError("notImplemented", message);

const errnoNames = new Map<number, string>();
for (const [name, value] of Object.entries(constants.errno)) {
  // EAGAIN and EOPNOTSUPP are the names the man pages use first.
  if (!errnoNames.has(value) || name === "EAGAIN" || name === "EOPNOTSUPP") errnoNames.set(value, name);
}

/** `ENOENT` for 2; `errno 999` for what has no name. */
export function errnoName(errno: number): string {
  return errnoNames.get(errno) ?? extraErrno[errno] ?? `errno ${errno}`;
}

// What node:os does not list (errno(3), asm-generic/errno.h).
const extraErrno: Record<number, string> = {
  64: "ENONET",
  117: "EUCLEAN",
  126: "ENOKEY",
  127: "EKEYEXPIRED",
  129: "EKEYREJECTED",
};

/** A system call that failed. `errno` is positive. The message reads `operation object: ERRNO`. */
export class SysError extends Error {
  override name = "SysError";
  readonly code: string;
  constructor(
    readonly operation: string,
    readonly object: string,
    readonly errno: number,
    readonly hint?: string,
  ) {
    super(`${operation}${object ? ` ${object}` : ""}: ${errnoName(errno)}${hint ? ` (${hint})` : ""}`);
    this.code = errnoName(errno);
  }
}

/** Text of any thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The errno name of a failed system call, ours or node's; undefined for anything else. */
export function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}
