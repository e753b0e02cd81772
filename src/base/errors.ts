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
export const forbidden = (message: string, cause?: unknown) => new InroError("forbidden", message, { cause });
export const unavailable = (message: string, cause?: unknown) => new InroError("unavailable", message, { cause });
export const notImplemented = (message: string) => new InroError("notImplemented", message);

/** Names of 1, 2, 3 … as on every architecture inro runs on (asm-generic/errno.h); `-` where there is none. */
const ERRNO_NAMES = `
  EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST
  EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM
  ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP - ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG
  EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT - EBFONT ENOSTR ENODATA ETIME ENOSR ENONET
  ENOPKG EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG
  ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE
  EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE
  EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN
  ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL
  EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD
  ENOTRECOVERABLE ERFKILL EHWPOISON
`
  .trim()
  .split(/\s+/);

/** `ENOENT` for 2; `errno 999` for what has no name. */
export function errnoName(errno: number): string {
  const name = ERRNO_NAMES[errno - 1];
  return name === undefined || name === "-" ? `errno ${errno}` : name;
}

/** The errno of a name; undefined for what is none. */
export function errnoOfName(name: string): number | undefined {
  const at = ERRNO_NAMES.indexOf(ALIASES[name] ?? name);
  return at < 0 ? undefined : at + 1;
}

const ALIASES: Readonly<Record<string, string>> = {
  EWOULDBLOCK: "EAGAIN",
  EDEADLOCK: "EDEADLK",
  ENOTSUP: "EOPNOTSUPP",
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
