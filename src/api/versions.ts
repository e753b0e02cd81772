import { defaultNetworkFigures } from "../spec/default-network.ts";
import type { ContainerInspect, EndpointSettings, ImageInspect, ImageSummary } from "../spec/docker-api.ts";

/** Objects as older versions of the API have them; without a word here, a version has them as the newest. */

/** Before 1.44 the size had a second name; before 1.51 containers were not counted. */
export function imageSummary(image: ImageSummary, version: number): object {
  return {
    ...image,
    ...(version < 1.51 ? { Containers: -1 } : {}),
    ...(version < 1.44 ? { VirtualSize: image.Size } : {}),
  };
}

/** Since 1.52 what an image does not have is left out; before, empty fields were there, and others that mean nothing. */
export function imageInspect(image: ImageInspect, version: number): object {
  if (version >= 1.52) {
    const optional = ["Parent", "Comment", "Author"] as const;
    return Object.fromEntries(
      Object.entries(image).filter(([name, value]) => value !== "" || !optional.includes(name as never)),
    );
  }
  return {
    ...image,
    DockerVersion: "",
    ...(version < 1.45 ? { Container: "", ContainerConfig: {} } : {}),
    ...(version < 1.44 ? { VirtualSize: image.Size } : {}),
  };
}

/** Fields of the info and the version that has them first. */
const INFO_SINCE: Readonly<Record<string, number>> = {
  CDISpecDirs: 1.44,
  FirewallBackend: 1.49,
  DiscoveredDevices: 1.5,
};

/** Before 1.50 it told of bridges' packet filters too. */
export function systemInfo(info: Record<string, unknown>, version: number): object {
  const known = Object.entries(info).filter(([name]) => version >= (INFO_SINCE[name] ?? 0));
  const bridges = version < 1.5 ? { BridgeNfIptables: false, BridgeNfIp6tables: false } : {};
  return { ...Object.fromEntries(known), ...bridges };
}

/** Until 1.52 NetworkSettings itself had the figures of the default network, and some that nobody has any more. */
export function containerInspect(container: ContainerInspect, version: number): object {
  const { SandboxID, SandboxKey, Ports, Networks, Egress } = container.NetworkSettings as NetworkSettings;
  const settings = { SandboxID, SandboxKey, Ports, Networks, ...(Egress && { Egress }) };
  if (version >= 1.52) return { ...container, NetworkSettings: settings };
  return {
    ...container,
    NetworkSettings: {
      Bridge: "",
      HairpinMode: false,
      LinkLocalIPv6Address: "",
      LinkLocalIPv6PrefixLen: 0,
      SecondaryIPAddresses: null,
      SecondaryIPv6Addresses: null,
      ...defaultNetworkFigures(Networks),
      ...settings,
    },
  };
}

interface NetworkSettings {
  SandboxID: string;
  SandboxKey: string;
  Ports: object;
  Networks: Record<string, EndpointSettings>;
  /** inro's own: what the container's egress rules have dropped. */
  Egress?: object;
}
