import { notFound } from "../../base/errors.ts";
import type { Call } from "../call.ts";
import { applyCeilings, configViolation, forbidden, hostViolation, NAMESPACE_FIELDS } from "./container-fields.ts";
import type { Guard } from "./guard.ts";
import { networks } from "./network-rules.ts";
import type { RouteSet } from "./routes.ts";
import { body, filterByLabel, type Json, labelled, part, type Rule } from "./rule.ts";

const see = (guard: Guard, call: Call) => {
  call.params[0] = guard.see(call.params[0]!);
};
const touch = (guard: Guard, call: Call) => {
  call.params[0] = guard.touch(call.params[0]!);
};
/** Values of `before` and `since` name containers, whose absence is an error. */
function list(guard: Guard, call: Call): void {
  const text = call.query.get("filters");
  filterByLabel(guard, call);
  if (!text || !guard.scope.label) return;
  const filters = JSON.parse(text) as Record<string, unknown>;
  for (const key of ["before", "since"]) {
    const value = filters[key];
    for (const ref of Array.isArray(value) ? value : Object.keys(value ?? {})) guard.see(String(ref));
  }
}

/** The targets of `container:NAME` and the like, as ids. */
function joins(guard: Guard, host: Json): void {
  for (const field of NAMESPACE_FIELDS) {
    const other = /^container:(.*)$/.exec(String(host[field] ?? ""))?.[1];
    if (other !== undefined) host[field] = `container:${guard.touch(other)}`;
  }
  const others = (name: "VolumesFrom" | "Links") =>
    Array.isArray(host[name]) ? (host[name] as unknown[]).map(String) : [];
  if (others("VolumesFrom").length > 0) {
    host.VolumesFrom = others("VolumesFrom").map((text) => {
      const [ref, ...mode] = text.split(":");
      return [guard.touch(ref!), ...mode].join(":");
    });
  }
  for (const text of others("Links")) guard.touch(text.split(":")[0]!);
}

async function create(guard: Guard, call: Call): Promise<void> {
  const { scope } = guard;
  const request = await body(call);
  const unknown = configViolation(request);
  if (unknown !== undefined) throw forbidden(scope, unknown);
  const host = part(request, "HostConfig");
  const why = hostViolation(scope, host);
  if (why !== undefined) throw forbidden(scope, why);
  if (typeof request.Image === "string" && request.Image !== "") guard.image(request.Image);
  joins(guard, host);
  await networks(guard, call, request, host);
  applyCeilings(scope, host);
  request.Labels = guard.marked(request.Labels);
  const { label } = scope;
  call.bounds = { labels: label ? { [label.key]: label.value } : {}, directories: scope.directories };
}

async function update(guard: Guard, call: Call): Promise<void> {
  touch(guard, call);
  const host = await body(call);
  const why = hostViolation(guard.scope, host);
  if (why !== undefined) throw forbidden(guard.scope, why);
  applyCeilings(guard.scope, host, true);
}

const EXEC_FIELDS = new Set(
  `AttachStderr AttachStdin AttachStdout Cmd ConsoleSize Container Detach DetachKeys Env Privileged Tty User
  WorkingDir`.split(/\s+/),
);

async function execCreate(guard: Guard, call: Call): Promise<void> {
  touch(guard, call);
  const request = await body(call);
  if (request.Privileged && !guard.scope.privileged) throw forbidden(guard.scope, "a privileged exec");
  const unknown = Object.keys(request).find((name) => request[name] && !EXEC_FIELDS.has(name));
  if (unknown !== undefined) throw forbidden(guard.scope, `exec field ${unknown.slice(0, 64)}`);
}

/** An exec instance is what its container is; one with more rights may have been made elsewhere. */
function exec(guard: Guard, call: Call): void {
  const id = call.params[0]!;
  const { ContainerID, ProcessConfig } = guard.engine.execs.inspect(id);
  try {
    guard.touch(ContainerID);
  } catch {
    throw notFound(`No such exec instance: ${id.slice(0, 256)}`);
  }
  if (ProcessConfig.privileged && !guard.scope.privileged) throw forbidden(guard.scope, "a privileged exec");
}

/** ps(1) can show any column under the title PID, and so rows of the machine's other processes. */
function top(guard: Guard, call: Call): void {
  see(guard, call);
  if (/[^-a-zA-Z0-9, ]/.test(call.query.get("ps_args") ?? "")) throw forbidden(guard.scope, "these ps_args");
}

const container = (sets: RouteSet[], before: NonNullable<Rule["before"]> = touch): Rule => ({ sets, before });

export const containerRules: Record<string, Rule> = {
  "GET /containers/json": { sets: ["read-only", "containers"], before: list, after: labelled },
  "GET /containers/*/json": container(["read-only", "containers"], see),
  "GET /containers/*/logs": container(["read-only", "containers"], see),
  "GET /containers/*/top": container(["read-only", "containers"], top),
  "GET /containers/*/stats": container(["read-only", "containers"], see),
  "GET /containers/*/changes": container(["read-only", "containers"], see),
  "POST /containers/*/wait": container(["read-only", "containers"], see),
  "POST /containers/create": { sets: ["containers"], before: create },
  "POST /inro/run": { sets: ["containers"], before: create },
  "POST /containers/*/start": container(["containers"]),
  "POST /containers/*/stop": container(["containers"]),
  "POST /containers/*/restart": container(["containers"]),
  "POST /containers/*/kill": container(["containers"]),
  "POST /containers/*/pause": container(["containers"]),
  "POST /containers/*/unpause": container(["containers"]),
  "POST /containers/*/rename": container(["containers"]),
  "POST /containers/*/resize": container(["containers"]),
  "POST /containers/*/attach": container(["containers"]),
  "GET /containers/*/attach/ws": container(["containers"]),
  "POST /containers/*/update": container(["containers"], update),
  "DELETE /containers/*": container(["containers"]),

  "POST /containers/*/exec": container(["exec"], execCreate),
  "GET /exec/*/json": container(["exec"], exec),
  "POST /exec/*/resize": container(["exec"], exec),
  "POST /exec/*/start": container(["exec"], exec),

  "HEAD /containers/*/archive": container(["files"]),
  "GET /containers/*/archive": container(["files"]),
  "PUT /containers/*/archive": container(["files"]),
  "GET /containers/*/export": container(["files"]),
  "POST /containers/prune": { sets: ["prune"], before: filterByLabel },
};
