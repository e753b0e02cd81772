import { invalid, notFound } from "../../base/errors.ts";
import type { Call } from "../call.ts";
import { forbidden } from "./container-fields.ts";
import type { Guard } from "./guard.ts";
import { body, filterByLabel, type Json, type Labelled, labelled, type Rule } from "./rule.ts";

const PREDEFINED = ["", "default", "none", "bridge"];
const ENDPOINT_FIELDS = new Set("Aliases DNSNames EndpointID GwPriority IPAMConfig MacAddress NetworkID".split(" "));

/** Networks that a container asks for: the usual ones, and those of the scope. */
export async function networks(guard: Guard, call: Call, request: Json, host: Json): Promise<void> {
  const mode = String(host.NetworkMode ?? "");
  const usual = (name: string) => PREDEFINED.includes(name) || name === "host" || name.startsWith("container:");
  if (!usual(mode)) await network(guard, call, mode);
  const endpoints = (request.NetworkingConfig as Json | null | undefined)?.EndpointsConfig ?? {};
  for (const [name, settings] of Object.entries(endpoints as Json)) {
    if (name === "host" && mode !== "host") throw forbidden(guard.scope, "the host's network namespace");
    if (name.startsWith("container:")) throw invalid(`invalid network ${name.slice(0, 64)}`);
    if (!usual(name)) await network(guard, call, name);
    for (const [field, value] of Object.entries((settings as Json | null) ?? {})) {
      const nothing =
        value == null || value === "" || value === 0 || value === false || Object.keys(value).length === 0;
      if (!nothing && !ENDPOINT_FIELDS.has(field))
        throw forbidden(guard.scope, `endpoint setting ${field.slice(0, 64)}`);
    }
  }
}

/** The id of a network; notFound for one outside of the scope. */
async function network(guard: Guard, call: Call, name: string): Promise<string> {
  if (!guard.scope.label) return name;
  const { Id, Labels } = (await guard.ask(call, `/networks/${encodeURIComponent(name)}`)) as Labelled & { Id: string };
  if (!guard.carries(Labels)) throw notFound(`network ${name.slice(0, 256)} not found`);
  return Id;
}

async function seeNetwork(guard: Guard, call: Call): Promise<void> {
  call.params[0] = await network(guard, call, call.params[0]!);
}

/** Interfaces, addresses and drivers of the host are none of a scope's business. */
const NETWORK_FIELDS = new Set(
  "Name CheckDuplicate Driver Internal Attachable EnableIPv4 EnableIPv6 Labels".split(" "),
);

async function createNetwork(guard: Guard, call: Call): Promise<void> {
  const request = await body(call);
  for (const [field, value] of Object.entries(request)) {
    const nothing = !value || (typeof value === "object" && isEmpty(value));
    if (!nothing && !NETWORK_FIELDS.has(field)) throw forbidden(guard.scope, `network field ${field.slice(0, 64)}`);
  }
  if (request.Driver && request.Driver !== "bridge") throw forbidden(guard.scope, "another network driver than bridge");
  request.Labels = guard.marked(request.Labels);
}

/** `{"Driver":"default","Config":[]}` and the like say nothing. */
function isEmpty(value: object): boolean {
  return Object.entries(value).every(([name, one]) => {
    if (name === "Driver" && one === "default") return true;
    return !one || (typeof one === "object" && Object.keys(one).length === 0);
  });
}

async function connect(guard: Guard, call: Call): Promise<void> {
  await seeNetwork(guard, call);
  const request = await body(call);
  request.Container = guard.touch(String(request.Container ?? ""));
  const settings = { NetworkingConfig: { EndpointsConfig: { [call.params[0]!]: request.EndpointConfig } } };
  await networks(guard, call, settings, {});
}

export const networkRules: Record<string, Rule> = {
  "GET /networks/": { sets: ["read-only", "networks"], after: labelled },
  "GET /networks": { sets: ["read-only", "networks"], after: labelled },
  "GET /networks/*": { sets: ["read-only", "networks"], before: seeNetwork },
  "POST /networks/create": { sets: ["networks"], before: createNetwork },
  "POST /networks/*/connect": { sets: ["networks"], before: connect },
  "POST /networks/*/disconnect": { sets: ["networks"], before: connect },
  "DELETE /networks/*": { sets: ["networks"], before: seeNetwork },
  "POST /networks/prune": { sets: ["prune"], before: filterByLabel },
};
