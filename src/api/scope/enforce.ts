import { InroError } from "../../base/errors.ts";
import type { Call, Found, Reply } from "../call.ts";
import { forbidden } from "./container-fields.ts";
import type { Guard } from "./guard.ts";
import { ruleOf } from "./routes.ts";

/** How clients find out what they talk to; it says nothing about containers. */
const ALWAYS = new Set(["GET /_ping", "HEAD /_ping", "OPTIONS *"]);

/**
 * Handles a call on a socket with limited rights: the one place where they are enforced. What is decided on is the route
 * that was found and the parameters that its handler gets, so no spelling of a path says one thing here and another there.
 */
export async function enforce(guard: Guard, found: Found, call: Call): Promise<Reply> {
  const { pattern, handler } = found;
  if (ALWAYS.has(pattern)) return handler(call);
  const rule = guard.scope.routes.has(pattern) ? ruleOf(pattern) : undefined;
  if (!rule) throw forbidden(guard.scope, pattern);
  await rule.before?.(guard, call);
  let reply: Reply;
  try {
    reply = await handler(call);
  } catch (error) {
    throw guard.scope.label ? withoutIds(error) : error;
  }
  if (!rule.after || !("body" in reply) || !reply.body) return reply;
  return { ...reply, body: `${JSON.stringify(await rule.after(guard, JSON.parse(String(reply.body))))}\n` };
}

/** A name in use is told, and by whose container not. */
function withoutIds(error: unknown): unknown {
  if (!(error instanceof InroError) || error.kind !== "conflict") return error;
  return new InroError("conflict", error.message.replace(/ by container "?[0-9a-f]{12,64}"?/, ""), { cause: error });
}
