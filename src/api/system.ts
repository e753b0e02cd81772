import { API_VERSION } from "../spec/docker-api.ts";
import { flag, type Handler, json, jsonBody } from "./call.ts";
import { systemInfo } from "./versions.ts";

const ping: Handler = async (call) => ({
  status: 200,
  body: call.request.method === "HEAD" ? "" : "OK",
  type: "text/plain; charset=utf-8",
  headers: {
    "Cache-Control": "no-cache, no-store, must-revalidate",
    Pragma: "no-cache",
    "Builder-Version": "2",
    Swarm: "inactive",
    "Api-Version": API_VERSION,
  },
});

export const systemRoutes: Record<string, Handler> = {
  "GET /_ping": ping,
  "HEAD /_ping": ping,
  "GET /version": async (call) => json(200, call.engine.version(call.minVersion)),
  "GET /info": async (call) => json(200, systemInfo(await call.engine.info(), call.version)),
  "GET /inro/check": async (call) =>
    json(200, await call.engine.check({ repair: flag(call.query, "repair"), images: flag(call.query, "images") })),
  "POST /inro/explain": async (call) =>
    json(200, await call.engine.explain(await jsonBody(call), { trace: flag(call.query, "trace") })),
};
