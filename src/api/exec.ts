import { invalid } from "../base/errors.ts";
import { empty, type Handler, json, jsonBody } from "./call.ts";
import { attached, size } from "./containers.ts";

export const execRoutes: Record<string, Handler> = {
  "POST /containers/*/exec": async (call) =>
    json(201, await call.engine.execs.create(call.params[0]!, await jsonBody(call))),
  "GET /exec/*/json": async (call) => json(200, call.engine.execs.inspect(call.params[0]!)),
  "POST /exec/*/resize": async (call) => {
    await call.engine.execs.resize(call.params[0]!, ...size(call));
    return empty(200);
  },
  "POST /exec/*/start": async (call) => {
    const id = call.params[0]!;
    const body = startOptions(await jsonBody(call, { optional: true }));
    call.engine.execs.check(id);
    const attachment = await call.engine.execs.start(id, body);
    // What the stream is like says this request, as in docker, and not whether there is a terminal.
    return attachment ? attached(call, attachment, body.Tty === true) : empty(200);
  },
};

function startOptions(body: unknown): { Detach?: boolean; Tty?: boolean; ConsoleSize?: [number, number] } {
  if (body === undefined || body === null) return {};
  if (typeof body !== "object") throw invalid("invalid JSON: the body must be an object");
  const { Detach, Tty, ConsoleSize } = body as Record<string, unknown>;
  const options: { Detach?: boolean; Tty?: boolean; ConsoleSize?: [number, number] } = {};
  for (const [name, value] of [
    ["Detach", Detach],
    ["Tty", Tty],
  ] as const) {
    if (value === undefined || value === null) continue;
    if (typeof value !== "boolean") throw invalid(`invalid JSON: ${name} must be a boolean`);
    options[name] = value;
  }
  if (ConsoleSize !== undefined && ConsoleSize !== null) {
    const [height, width] = Array.isArray(ConsoleSize) ? ConsoleSize : [];
    if (!isSize(height) || !isSize(width)) throw invalid("invalid JSON: ConsoleSize must be [height, width]");
    if (height > 0 && width > 0) options.ConsoleSize = [height, width];
  }
  return options;
}

const isSize = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 65535;
