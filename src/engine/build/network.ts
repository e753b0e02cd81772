import { readFileSync } from "node:fs";
import type { StepNetwork } from "../../build/step.ts";
import { createNetworkNamespace } from "../../network/namespace.ts";
import type { Context } from "../context.ts";
import { hostsFile, resolvFile } from "../networks/container-files.ts";

/** What a RUN has of the network. Without a default network in the engine, `default` is as `none`. */
export function stepNetwork(
  ctx: Context,
  mode: "default" | "none" | "host",
  names: { hostname: string; extraHosts: readonly string[] },
): StepNetwork {
  const host = { ExtraHosts: [...names.extraHosts] };
  const hostname = [names.hostname];
  const hostFile = readHost("/etc/resolv.conf");
  if (mode === "host") {
    return {
      hosts: hostsFile(hostname, host, undefined, "127.0.0.1"),
      resolvConf: resolvFile({}, hostFile, "all"),
      release: async () => {},
    };
  }
  if (mode === "default" && ctx.networks.known.some(({ name }) => name === "bridge")) {
    const guest = ctx.endpoints.guest("bridge");
    return {
      namespace: guest.namespace.fd,
      hosts: hostsFile(hostname, host, guest.run, guest.gateway),
      resolvConf: resolvFile({}, hostFile, "other"),
      release: async () => guest.release(),
    };
  }
  const namespace = createNetworkNamespace();
  return {
    namespace: namespace.fd,
    hosts: hostsFile(hostname, host, undefined, undefined),
    resolvConf: "",
    release: async () => namespace.close(),
  };
}

function readHost(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
