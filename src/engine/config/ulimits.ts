import { invalid } from "../../base/errors.ts";
import { didYouMean } from "../../base/nearest.ts";
import type { Ulimit } from "../../spec/docker-api.ts";
import type { Process } from "../../spec/oci-runtime.ts";
import { type HostFacts, mayRaiseLimits } from "./host-facts.ts";

// getrlimit(2), in docker's spelling.
const NAMES =
  "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split(" ");

/** RLIM_INFINITY as a JSON number: the double next to 2^64-1. */
export const RLIM_INFINITY = 2 ** 64;

/**
 * process.rlimits. -1 is unlimited. Throws invalid for an unknown or repeated name, soft above hard, and a hard limit
 * above the engine's own where the engine lacks CAP_SYS_RESOURCE (setrlimit(2) would fail with EPERM).
 */
export function rlimits(ulimits: readonly Ulimit[], facts: HostFacts): NonNullable<Process["rlimits"]> {
  const seen = new Set<string>();
  return ulimits.map(({ Name, Soft = 0, Hard = 0 }) => {
    if (!NAMES.includes(Name)) throw invalid(`invalid ulimit type: ${Name.slice(0, 64)}${didYouMean(Name, NAMES)}`);
    if (seen.has(Name)) throw invalid(`ulimit ${Name} is given twice`);
    seen.add(Name);
    if (Soft < -1 || Hard < -1)
      throw invalid(`ulimit ${Name}: ${Math.min(Soft, Hard)} is not a limit, use -1 for unlimited`);
    if (Hard !== -1 && (Soft > Hard || Soft === -1)) {
      throw invalid(`ulimit ${Name}: soft limit must be less than or equal to hard limit: ${Soft} > ${Hard}`);
    }
    const type = `RLIMIT_${Name.toUpperCase()}`;
    const own = facts.hardLimits[type] ?? Infinity;
    if ((Hard === -1 ? Infinity : Hard) > own && !mayRaiseLimits(facts)) {
      const wanted = Hard === -1 ? "unlimited" : Hard;
      throw invalid(
        `ulimit ${Name}: hard limit ${wanted} is above the engine's own ${own}, and it lacks CAP_SYS_RESOURCE`,
      );
    }
    const value = (n: number) => (n === -1 ? RLIM_INFINITY : n);
    return { type, soft: value(Soft), hard: value(Hard) };
  });
}
