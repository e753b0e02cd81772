import { SysError } from "../base/errors.ts";
import { type Arg, rawSyscall } from "./ffi.ts";
import { type Abi, syscallNumber } from "./syscall-numbers.ts";

/** The ABI this program itself runs on. */
export const NATIVE_ABI: Abi = process.arch === "arm64" ? "aarch64" : "x86_64";

const numbers = new Map<string, number>();

/** Native number of `name`; -1 where the architecture has none, which the kernel answers with ENOSYS. */
export function nativeNumber(name: string): number {
  let nr = numbers.get(name);
  if (nr === undefined) {
    nr = syscallNumber(NATIVE_ABI, name) ?? -1;
    numbers.set(name, nr);
  }
  return nr;
}

/** Result or -errno; EINTR is retried. */
export function trySys(name: string, ...args: Arg[]): number {
  const nr = nativeNumber(name);
  for (;;) {
    const result = rawSyscall(nr, ...args);
    if (result !== -4) return result;
  }
}

/** Result; a failure is a {@link SysError} that reads `name object: ERRNO`. */
export function sys(name: string, object: string, ...args: Arg[]): number {
  const result = trySys(name, ...args);
  if (result < 0) throw new SysError(name, object, -result);
  return result;
}
