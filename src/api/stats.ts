import { invalid } from "../base/errors.ts";
import { flag, type Handler, json } from "./call.ts";

export const statsRoutes: Record<string, Handler> = {
  "GET /containers/*/stats": async (call) => {
    const { stats } = call.engine;
    const ref = call.params[0]!;
    const stream = flag(call.query, "stream", true);
    const oneShot = flag(call.query, "one-shot");
    if (stream && oneShot) throw invalid("cannot have stream=true and one-shot=true");
    if (!stream) return json(200, await (oneShot ? stats.once(ref) : stats.pair(ref, call.signal)));
    const readings = stats.follow(ref, call.signal);
    return {
      status: 200,
      type: "application/json",
      stream: (async function* () {
        for await (const reading of readings) yield `${JSON.stringify(reading)}\n`;
      })(),
    };
  },
};
