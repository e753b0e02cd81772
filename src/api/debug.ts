import { type Handler, json, jsonBody } from "./call.ts";

/** A shell with tools in a container: the exec instance that this answers with is started as any other. */
export const debugRoutes: Record<string, Handler> = {
  "POST /inro/debug": async (call) => json(201, await call.engine.debug(await jsonBody(call), call.signal)),
};
