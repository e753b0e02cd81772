import type { Engine } from "../client/engine.ts";
import { defaultNetworkFigures } from "../spec/default-network.ts";
import type { ContainerInspect, EndpointSettings } from "../spec/docker-api.ts";

/**
 * A container for `inspect`, with what the API had until 1.52 and templates still ask for: the figures of the default
 * network in NetworkSettings itself.
 */
export async function containerObject(engine: Engine, name: string, size: boolean): Promise<object> {
  const container = await engine.inspectContainer(name, { size });
  return container.NetworkSettings ? { ...container, NetworkSettings: withDefaultNetwork(container) } : container;
}

function withDefaultNetwork({ NetworkSettings }: ContainerInspect): object {
  const { Networks, ...settings } = NetworkSettings as { Networks?: Record<string, EndpointSettings> | null };
  return {
    Bridge: "",
    ...settings,
    ...defaultNetworkFigures(Networks ?? {}),
    Networks: Networks ?? {},
  };
}
