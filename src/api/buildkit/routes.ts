import type { Handler } from "../call.ts";

/** Loaded when a client of BuildKit comes: most engines never see one. */
export const buildkitRoutes: Record<string, Handler> = {
  "POST /session": async (call) => (await import("./sessions.ts")).session(call),
  "POST /grpc": async (call) => (await import("./control.ts")).grpc(call),
};
