import { invalid } from "../../base/errors.ts";
import type { HostConfig } from "../../spec/docker-api.ts";

const SHORTEST = { TTL: 1_000_000, IdleTTL: 100_000_000 };

/** TTL and IdleTTL: 0, or at least 1 ms and 100 ms. Throws invalid. */
export function checkExpiry(host: HostConfig): void {
  for (const [name, shortest] of Object.entries(SHORTEST) as ["TTL" | "IdleTTL", number][]) {
    const time = host[name] ?? 0;
    if (time !== 0 && time < shortest) throw invalid(`${name} cannot be less than ${shortest / 1e6}ms`);
  }
}
