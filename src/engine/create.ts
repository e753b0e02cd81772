import { newId } from "../base/digest.ts";
import { conflict, messageOf, notFound, unavailable } from "../base/errors.ts";
import { formatPlatform, parsePlatform, satisfies } from "../images/platform.ts";
import type { CreateResponse } from "../spec/docker-api.ts";
import { nowText } from "./clock.ts";
import { usernsRequest } from "./config/modes.ts";
import { planMounts } from "./config/mount-plan.ts";
import { containerName, randomName } from "./config/names.ts";
import { requestedImage, validateCreate } from "./config/validate-create.ts";
import { Container, newState } from "./container.ts";
import { type Context, emit } from "./context.ts";
import { isHostImage } from "./host-image.ts";
import type { ContainerRecord, StateRecord } from "./store.ts";
import type { Volumes } from "./volumes.ts";

/**
 * POST /containers/create: checks the untrusted body and records the container, in one synchronous step, so that of two
 * with the same name one fails. Makes nothing else.
 */
export function createContainer(
  ctx: Context,
  volumes: Volumes,
  request: { body: unknown; name?: string | undefined; platform?: string | undefined },
): CreateResponse {
  const taken = (name: string) => ctx.table.byName(name) !== undefined;
  const name = request.name ? containerName(request.name) : randomName(taken);
  const image = requestedImage(request.body);
  const found = ctx.images.find(image);
  if (request.platform && !isHostImage(image)) checkPlatform(image, found.config, request.platform);
  const { config, host, warnings } = validateCreate(request.body, found.config.config);
  const other = ctx.table.byName(name);
  if (other) {
    throw conflict(
      `Conflict. The container name "/${name}" is already in use by container "${other.id}". You have to remove (or rename) that container to be able to reuse that name.`,
    );
  }
  const planned = volumes.plan(planMounts(config, host));
  const range = usernsRequest(host.UsernsMode);
  const record: ContainerRecord = {
    id: newId(),
    name,
    created: nowText(),
    image,
    imageId: found.id,
    config,
    host,
    mounts: planned.mounts,
    anonymous: planned.anonymous,
    ...(range ? { userns: freeIds(ctx, range.size) } : {}),
  };
  const state = newState();
  ctx.store.insertContainer(record, state, planned.volumes);
  const container = register(ctx, record, state);
  for (const volume of planned.volumes) volumes.created(volume);
  emit(ctx, container, "create");
  return { Id: record.id, Warnings: warnings };
}

/** Puts a recorded container into the table. */
export function register(ctx: Context, record: ContainerRecord, state: StateRecord): Container {
  const container: Container = new Container(
    record,
    state,
    ctx.paths.log(record.id),
    () => emit(ctx, container, "detach"),
    (error) => ctx.log(`container ${record.id.slice(0, 12)}: its log cannot be written: ${messageOf(error)}`),
  );
  ctx.table.add(container);
  return container;
}

function checkPlatform(image: string, config: { os: string; architecture: string; variant?: string }, wanted: string) {
  const platform = parsePlatform(wanted);
  if (satisfies(config, platform, true)) return;
  throw notFound(
    `image with reference ${image} was found but its platform (${formatPlatform(config)}) does not match the specified platform (${formatPlatform(platform)})`,
  );
}

const FIRST_ID = 100_000;
const LAST_ID = 2 ** 31;

/** A range of host ids that no other container has. */
function freeIds(ctx: Context, size: number): { hostID: number; size: number } {
  const used = ctx.table
    .all()
    .flatMap(({ record }) => (record.userns ? [record.userns] : []))
    .sort((a, b) => a.hostID - b.hostID);
  let hostID = FIRST_ID;
  for (const range of used) {
    if (hostID + size <= range.hostID) break;
    hostID = Math.max(hostID, range.hostID + range.size);
  }
  if (hostID + size > LAST_ID) throw unavailable("no ids are left for another user namespace");
  return { hostID, size };
}
