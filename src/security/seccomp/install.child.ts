/**
 * For tests, a program: installs the filter of the profile in argv[2] (JSON, or `default`) on this thread, makes the
 * calls of argv[3] ([name or number, ...arguments][], numbers) and prints their results, -errno for failures.
 */

import { release } from "node:os";
import { NATIVE_ABI, nativeNumber } from "../../linux/call.ts";
import * as k from "../../linux/constants.ts";
import { bytes, rawSyscall, room, scratch } from "../../linux/ffi.ts";
import { DEFAULT_CAPABILITIES } from "../capabilities.ts";
import { compileFilter } from "./compile.ts";
import { defaultProfile, kernelVersion, parseProfile, resolveProfile } from "./profile.ts";

const [profile, calls] = process.argv.slice(2) as [string, string];
const context = { caps: DEFAULT_CAPABILITIES, abi: NATIVE_ABI, kernel: kernelVersion(release()) };
const seccomp = profile === "default" ? defaultProfile(context) : resolveProfile(parseProfile(profile), context)!;
const filter = compileFilter(seccomp, NATIVE_ABI);

const installed = scratch(() => {
  const program = room(16);
  program.view.writeUInt16LE(filter.count, 0);
  program.view.writeBigUInt64LE(BigInt(bytes(filter.code)), 8);
  rawSyscall(nativeNumber("prctl"), k.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  return rawSyscall(nativeNumber("seccomp"), k.SECCOMP_SET_MODE_FILTER, filter.flags, program.address);
});
const results = (JSON.parse(calls) as [string | number, ...number[]][]).map(([name, ...args]) =>
  rawSyscall(typeof name === "number" ? name : nativeNumber(name), ...args),
);
console.log(JSON.stringify({ installed, results }));
