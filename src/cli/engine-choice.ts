import { resolveEndpoint } from "../client/endpoint.ts";
import { Engine } from "../client/engine.ts";

/** The engine that -H and the environment choose, asked with `headers`, started on first use where inro may do that. */
export function chooseEngine(host: string | undefined, headers: Record<string, string> = {}): Engine {
  const endpoint = resolveEndpoint(host);
  return new Engine({
    endpoint,
    headers,
    version: process.env.DOCKER_API_VERSION || undefined,
    onUnreachable: async (error) =>
      endpoint.default && (await import("../client/autostart.ts")).startEngine(endpoint, error),
  });
}
