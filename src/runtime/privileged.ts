import { trySys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import { room, scratch } from "../linux/ffi.ts";
import type { Process } from "../spec/oci-runtime.ts";
import type { Builder } from "./builder.ts";
import { limitBytes, limitsOf } from "./identity.ts";
import { isInherited, schedule } from "./scheduling.ts";

/**
 * What asks for rights in the initial user namespace, which root of another has no more: the first rows, of a process
 * that its child resembles. They come before it is made untraceable, since then its files in /proc are the host's root's.
 */
export function beforeUserNamespace(p: Builder, process: Process): void {
  if (process.oomScoreAdj !== undefined) writeOomScore(p, process.oomScoreAdj);
  for (const { type, resource, hard } of limitsOf(process)) {
    const own = ownLimit(resource);
    if (hard <= own.hard) continue;
    const limit = p.bytes(limitBytes(own.soft, hard), `${own.soft}:${hard}`);
    p.call(`process.rlimits ${type}: the hard limit`, "prlimit64", [0, resource, limit, 0]);
  }
  if (isInherited(process)) schedule(p, process);
}

/** In a process's own /proc/self. */
export function writeOomScore(p: Builder, score: number): void {
  p.writeFile("process.oomScoreAdj", k.AT_FDCWD, "/proc/self/oom_score_adj", String(score));
}

function ownLimit(resource: number): { soft: bigint; hard: bigint } {
  return scratch(() => {
    const { address, view } = room(16);
    trySys("prlimit64", 0, resource, 0, address);
    return { soft: view.readBigUInt64LE(0), hard: view.readBigUInt64LE(8) };
  });
}
