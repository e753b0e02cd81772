import { invalid } from "../../base/errors.ts";
import type { Bandwidth } from "../../network/bandwidth.ts";
import type { HostConfig } from "../../spec/docker-api.ts";

/** Bits in a second: below it not even a packet gets through in time, above it nothing is limited. */
const LEAST = 8000;
const MOST = 1e12;

/** HostConfig.Bandwidth as bytes; of a checked config. */
export function bandwidthOf({ Bandwidth = {} }: HostConfig): Bandwidth {
  const { Egress, Ingress } = Bandwidth ?? {};
  return {
    ...(Egress ? { egress: Math.ceil(Egress / 8) } : {}),
    ...(Ingress ? { ingress: Math.ceil(Ingress / 8) } : {}),
  };
}

/** Throws invalid for a rate that is none, and for a network that is not the container's own. */
export function checkBandwidth(host: HostConfig): void {
  const rates = Object.entries(host.Bandwidth ?? {}).filter(([, rate]) => rate !== 0);
  for (const [name, rate] of rates) {
    if (rate < LEAST || rate > MOST)
      throw invalid(`Bandwidth.${name}: ${rate} bits in a second is not from ${LEAST} to ${MOST}`);
  }
  const mode = host.NetworkMode ?? "";
  if (rates.length > 0 && (mode === "host" || mode.startsWith("container:"))) {
    throw invalid(
      `Bandwidth conflicts with network mode ${mode.split(":")[0]}: the network is not the container's own`,
    );
  }
}
