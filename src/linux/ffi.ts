import { dlopen, FFIType, ptr, read } from "bun:ffi";
import { SysError } from "../base/errors.ts";

/**
 * The one door to the kernel: `syscall(2)` through libc. Everything else in the program that is not a node: or Bun API
 * goes through here. Synchronous, not reentrant: arguments live in one static arena, since a temporary's address is
 * dead as soon as the collector runs.
 */
const libc = dlopen("libc.so.6", {
  syscall: { args: ["i64", "i64", "i64", "i64", "i64", "i64", "i64"], returns: FFIType.i64_fast },
  __errno_location: { args: [], returns: "ptr" },
  posix_spawn: { args: ["ptr", "ptr", "ptr", "ptr", "ptr", "ptr"], returns: "i32" },
  posix_spawn_file_actions_init: { args: ["ptr"], returns: "i32" },
  posix_spawn_file_actions_destroy: { args: ["ptr"], returns: "i32" },
  posix_spawn_file_actions_adddup2: { args: ["ptr", "i32", "i32"], returns: "i32" },
  posix_spawnattr_init: { args: ["ptr"], returns: "i32" },
  posix_spawnattr_destroy: { args: ["ptr"], returns: "i32" },
  posix_spawnattr_setflags: { args: ["ptr", "i16"], returns: "i32" },
  posix_spawnattr_setsigmask: { args: ["ptr", "ptr"], returns: "i32" },
  posix_spawnattr_setsigdefault: { args: ["ptr", "ptr"], returns: "i32" },
});

export const c = libc.symbols;

/** A numeric argument, or an address made by {@link str}, {@link bytes} or {@link room}. */
export type Arg = number | bigint;

const ARENA_SIZE = 1 << 20;
const arena = Buffer.alloc(ARENA_SIZE);
const arenaBase = Number(ptr(arena));
let used = 0;

/** The result, or -errno: for callers that expect some errors. */
export function rawSyscall(nr: number, ...args: Arg[]): number {
  const result = Number(
    c.syscall(nr, args[0] ?? 0, args[1] ?? 0, args[2] ?? 0, args[3] ?? 0, args[4] ?? 0, args[5] ?? 0),
  );
  return result === -1 ? -read.i32(c.__errno_location()!, 0) : result;
}

/** Runs `body` with the arena free, and frees what it took. Nesting is fine; nothing may be kept. */
export function scratch<T>(body: () => T): T {
  const mark = used;
  try {
    return body();
  } finally {
    used = mark;
  }
}

/** `size` zeroed bytes, 8-aligned, until the enclosing {@link scratch} ends. */
export function room(size: number): { address: number; view: Buffer } {
  const start = (used + 7) & ~7;
  if (start + size > ARENA_SIZE) throw new RangeError(`system call arguments over ${ARENA_SIZE} bytes`);
  used = start + size;
  const view = arena.subarray(start, used);
  view.fill(0);
  return { address: arenaBase + start, view };
}

/** Address of a NUL-terminated copy. A NUL inside would silently cut the name short, so it is refused. */
export function str(text: string | Uint8Array): number {
  const data = typeof text === "string" ? Buffer.from(text) : text;
  if (data.includes(0)) throw new SysError("use name", JSON.stringify(String(text)), 22, "it contains a NUL");
  const { address, view } = room(data.length + 1);
  view.set(data);
  return address;
}

/** A null-terminated array of strings, as argv and environment are. Within {@link scratch}. */
export function strings(list: readonly (string | Uint8Array)[]): number {
  const pointers = room((list.length + 1) * 8);
  list.forEach((text, i) => {
    pointers.view.writeBigUInt64LE(BigInt(str(text)), i * 8);
  });
  return pointers.address;
}

/** Address of a copy of `data`. */
export function bytes(data: Uint8Array): number {
  const { address, view } = room(data.length);
  view.set(data);
  return address;
}

/** Address of the buffer's own memory: for large transfers that should not be copied. The caller keeps it alive. */
export function addressOf(data: Uint8Array): number {
  return data.length === 0 ? 0 : Number(ptr(data));
}
