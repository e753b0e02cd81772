import { notFound } from "../../base/errors.ts";
import { isHostImage } from "../../engine/host-image.ts";
import type { Call } from "../call.ts";
import { forbidden } from "./container-fields.ts";
import type { Guard } from "./guard.ts";
import { body, filterByLabel, type Rule } from "./rule.ts";

const image = (guard: Guard, call: Call) => guard.image(call.params[0]!);

function pull(guard: Guard, call: Call): void {
  const source = call.query.get("fromSrc");
  if (source) guard.namesImages("importing images");
  // The engine would fetch it: what only the machine itself reaches too.
  if (source && source !== "-") throw forbidden(guard.scope, "importing from a URL");
  const reference = call.query.get("fromImage") ?? "";
  if (isHostImage(reference)) throw notFound("No such image: host");
  if (reference !== "") guard.pull(reference, call.query.get("tag") || undefined);
}

const asked = (guard: Guard, call: Call) => guard.pull(call.params[0]!, undefined);

/** What is pushed is named by the path and the tag together; without a tag it is all of a repository. */
function pushed(guard: Guard, call: Call): void {
  const tag = call.query.get("tag");
  if (!tag) guard.namesImages("pushing all tags of a repository");
  guard.image(`${call.params[0]!}${tag ? `:${tag}` : ""}`);
}

function ownImage(guard: Guard, call: Call): void {
  image(guard, call);
  const { label, images } = guard.scope;
  const found = guard.engine.images.find(call.params[0]!);
  if (label && !guard.carries(found.config.config?.Labels)) throw forbidden(guard.scope, "removing an image of others");
  if (!label && images) throw forbidden(guard.scope, "removing images, since it is limited to some");
}

function pruneImages(guard: Guard, call: Call): void {
  if (guard.scope.images && !guard.scope.label)
    throw forbidden(guard.scope, "removing images, since it is limited to some");
  filterByLabel(guard, call);
}

async function commit(guard: Guard, call: Call): Promise<void> {
  if (guard.scope.images) guard.namesImages("committing containers");
  call.query.set("container", guard.touch(call.query.get("container") ?? ""));
  const request = await body(call, true);
  request.Labels = guard.marked(request.Labels);
  const changes = call.query.getAll("changes");
  if (guard.scope.label && changes.some((line) => /label/i.test(line)))
    throw forbidden(guard.scope, "a change of labels");
  guard.target(call.query.get("repo"), call.query.get("tag"));
}

export const imageRules: Record<string, Rule> = {
  "GET /images/json": {
    sets: ["read-only", "images"],
    after: (guard, answer) => (answer as { Id: string }[]).filter(({ Id }) => guard.hasImage(Id)),
  },
  "GET /images/**/json": { sets: ["read-only", "images"], before: image },
  "GET /images/**/history": { sets: ["read-only", "images"], before: image },
  "GET /inro/images/**/sbom": { sets: ["images"], before: image },
  "POST /inro/images/**/sbom": { sets: ["images"], before: image },
  "GET /inro/images/**/files": { sets: ["images"], before: image },
  "GET /images/**/get": { sets: ["images"], before: image },
  "GET /images/get": {
    sets: ["images"],
    before: (guard, call) => {
      for (const name of call.query.getAll("names").flatMap((value) => value.split(","))) guard.image(name);
    },
  },
  "POST /images/create": { sets: ["images"], before: pull },
  "POST /images/load": { sets: ["images"], before: (guard) => guard.namesImages("loading images") },
  "POST /images/**/tag": { sets: ["images"], before: (guard) => guard.namesImages("naming images") },
  "POST /images/**/push": { sets: ["images"], before: pushed },
  "GET /images/search": { sets: ["images"], before: (guard) => guard.namesImages("searching") },
  "GET /distribution/**/json": { sets: ["images"], before: asked },
  "GET /inro/distribution/**/manifest": { sets: ["images"], before: asked },
  "PUT /inro/distribution/**/manifest": {
    sets: ["images"],
    before: (guard, call) => void guard.image(call.params[0]!),
  },
  "GET /inro/distribution/**/referrers": { sets: ["images"], before: asked },
  "DELETE /images/**": { sets: ["images"], before: ownImage },
  "POST /commit": { sets: ["images"], before: commit },
  "POST /images/prune": { sets: ["prune"], before: pruneImages },
};
