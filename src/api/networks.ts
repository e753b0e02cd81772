import { parseFilters } from "../engine/filters.ts";
import { PRUNE_FILTERS } from "../engine/list-filters.ts";
import { NETWORK_FILTERS } from "../engine/networks/requests.ts";
import { empty, type Handler, json, jsonBody } from "./call.ts";

export const networkRoutes: Record<string, Handler> = {
  // Docker's clients have used both.
  "GET /networks/": async (call) => await networkRoutes["GET /networks"]!(call),
  "GET /networks": async (call) => {
    const filters = parseFilters(call.query.get("filters") ?? undefined, NETWORK_FILTERS);
    return json(200, call.engine.networks.list(filters));
  },
  "POST /networks/create": async (call) => json(201, call.engine.networks.create(await jsonBody(call))),
  "POST /networks/prune": async (call) => {
    const filters = parseFilters(call.query.get("filters") ?? undefined, PRUNE_FILTERS);
    return json(200, await call.engine.networks.prune(filters));
  },
  "GET /networks/*": async (call) => json(200, call.engine.networks.inspect(call.params[0]!)),
  "POST /networks/*/connect": async (call) => {
    await call.engine.networks.connect(call.params[0]!, await jsonBody(call));
    return empty(200);
  },
  "POST /networks/*/disconnect": async (call) => {
    await call.engine.networks.disconnect(call.params[0]!, await jsonBody(call));
    return empty(200);
  },
  "GET /inro/ports": async (call) => json(200, call.engine.networks.ports()),
  "POST /inro/containers/*/ports": async (call) =>
    json(200, await call.engine.networks.changePorts(call.params[0]!, await jsonBody(call))),
  "DELETE /networks/*": async (call) => {
    await call.engine.networks.remove(call.params[0]!);
    return empty(204);
  },
};
