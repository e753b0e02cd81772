import { invalid } from "../base/errors.ts";
import type { Resources } from "../spec/oci-runtime.ts";
import type { CgroupDirectory } from "./directory.ts";

/** What a controller may ask besides its directory. */
export interface Context {
  /** The cgroup was just made: defaults need no writing. */
  readonly fresh: boolean;
  /** Reports a setting that is discarded since this kernel has nothing for it; throws where the caller wants none lost. */
  warn(what: string, why: string): void;
}

/** Writes one part of OCI `linux.resources` (config-linux.md, "Control groups") into cgroup files. */
export interface Controller {
  /** Controller name in each version; absent where that version has none. */
  readonly v1Name?: string;
  readonly v2Name?: string;
  /** Whether the resources ask this controller for anything. */
  needed(resources: Resources): boolean;
  /** Write what is asked for. Bad values are invalid-argument errors, refused writes SysErrors. */
  v1?(directory: CgroupDirectory, resources: Resources, context: Context): void;
  v2?(directory: CgroupDirectory, resources: Resources, context: Context): void;
}

/** `value` as decimal digits if it is an integer within the bounds; else an invalid-argument error that names `what`. */
export function integer(what: string, value: number, min: number, max: number): string {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw invalid(`invalid ${what} ${String(value).slice(0, 40)}: must be an integer from ${min} to ${max}`);
  }
  return BigInt(value).toString();
}

/** As the kernel's signed and unsigned 64-bit values; numbers are exact only up to 2^53. */
export const INT64_MAX = 2 ** 63;
export const UINT32_MAX = 2 ** 32 - 1;

/** A device number as blkio and io write it. */
export function deviceNumber(what: string, device: { major: number; minor: number }): string {
  return `${integer(`${what} major`, device.major, 0, 4095)}:${integer(`${what} minor`, device.minor, 0, 1048575)}`;
}
