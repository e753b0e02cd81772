import { invalid } from "../../base/errors.ts";
import { type Call, jsonBody } from "../call.ts";
import type { Guard } from "./guard.ts";
import type { RouteSet } from "./routes.ts";

/** What a socket with limited rights does about one route. A route without a rule is refused there. */
export interface Rule {
  /** Names by which `allow` gives it. */
  sets: RouteSet[];
  /** Before the handler: throws, or narrows the call down to what is in the scope. */
  before?(guard: Guard, call: Call): void | Promise<void>;
  /** After it, with the JSON of the answer: what of it is shown. */
  after?(guard: Guard, answer: unknown): unknown;
}

export type Json = Record<string, unknown>;
export type Labelled = { Labels?: Record<string, string> | null };

/** The body as an object, which the handler then gets with what is changed in it. */
export async function body(call: Call, optional = false): Promise<Json> {
  const value = (await jsonBody(call, { optional })) ?? {};
  if (typeof value !== "object" || Array.isArray(value)) throw invalid("invalid JSON: the body must be an object");
  call.body = value;
  return value as Json;
}

/** A field of the body that is an object; made where it is missing. */
export function part(of: Json, name: string): Json {
  const value = of[name] ?? {};
  if (typeof value !== "object" || Array.isArray(value)) throw invalid(`invalid JSON: ${name}: expected an object`);
  of[name] = value;
  return value as Json;
}

/** Adds the scope's label to `filters`, in either of their two forms. */
export function filterByLabel({ scope: { label } }: Guard, call: Call): void {
  if (!label) return;
  const text = call.query.get("filters");
  let filters: Json;
  try {
    filters = text ? (JSON.parse(text) ?? {}) : {};
  } catch (error) {
    throw invalid("invalid filters: not JSON", error);
  }
  if (typeof filters !== "object" || Array.isArray(filters)) throw invalid("invalid filters: not an object");
  const wanted = `${label.key}=${label.value}`;
  const given = filters.label;
  const values = Array.isArray(given)
    ? given
    : Object.entries(given ?? {}).flatMap(([v, on]) => (on === true ? [v] : []));
  filters.label = [...values, wanted];
  call.query.set("filters", JSON.stringify(filters));
}

/** Those of a list that are in the scope. */
export const labelled = (guard: Guard, answer: unknown) =>
  (answer as Labelled[]).filter(({ Labels }) => guard.carries(Labels));
